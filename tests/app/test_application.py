"""Generations of the configuration, and the engines they share."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.support.openai_server import STALL, OpenAIServer, always

from ecluse.adapters.store.store import open_store
from ecluse.adapters.telemetry.request_log import RequestLog
from ecluse.app.application import Application
from ecluse.config.load import Loaded, parse
from ecluse.domain.values.request import Call

ALONE = "[discovery]\nlocal = false\n"
EMPTY = f"{ALONE}[demonstration]\nenabled = false\n"
QUESTION = b'{"messages": [{"role": "user", "content": "add 4 3"}], "max_tokens": 9}'


@pytest.fixture
async def application(tmp_path: Path) -> AsyncGenerator[Application, None]:
    """One that serves nothing yet."""
    made = Application(open_store(tmp_path), RequestLog(io.BytesIO(), "json"), "127.0.0.1")
    await made.start(loaded(1, EMPTY))
    yield made
    await made.stop()


def loaded(generation: int, text: str) -> Loaded:
    """A configuration of that number."""
    return Loaded(parse(text, "x"), None, generation)


async def test_a_generation_that_ends_stops_no_engine_of_one_that_begins(
    application: Application,
) -> None:
    """The last request of an old one ends while a new one waits for its first look."""
    oldest = application.present()
    oldest.enter()
    await application.reload(loaded(2, EMPTY))
    async with OpenAIServer(always(STALL)) as silent:
        entry = f'[[upstreams]]\nkind = "http"\nname = "silent"\nurl = "{silent.url}"\n'
        reload = asyncio.create_task(application.reload(loaded(3, ALONE + entry)))
        await silent.until(lambda server: bool(server.requests))
        oldest.leave()
        await reload
    fleet = application.present().fleet
    (place,) = fleet.now().deployments["demo-small"]
    upstream = fleet.upstream_named(place.upstream)
    async with aclosing(upstream.attempt(Call("demo-small", QUESTION, stream=False))) as answer:
        assert [events async for events in answer]
