"""The measuring client reads answers as a client of the gateway would, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.support.openai_server import (
    CLOSE,
    USAGE,
    Answer,
    OpenAIServer,
    Request,
    always,
    completion,
    head,
    in_turn,
    whole,
)

from ecluse.domain.errors import UpstreamFailed
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.meter import Reading

TOLD = {"x_ecluse_model": "demo-small", "x_ecluse_attempts": "2"}


def counted(attempts: int) -> tuple[bytes]:
    """What /metrics says after so many attempts."""
    line = f'ecluse_attempts_total{{deployment="d",outcome="answered"}} {attempts}\n'
    return whole(b"# TYPE ecluse_attempts counter\n" + line.encode(), content_type="text/plain")


@asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[tuple[Gateway, list[Request]]]:
    """A client of a server that answers so, and what the server was asked."""
    async with OpenAIServer(answer) as server, aiohttp.ClientSession() as session:
        yield Gateway(session, server.url.removesuffix("/v1"), "ecl_x"), server.requests


async def test_an_answer_is_read() -> None:
    """Text, usage and log-probabilities of the body; the model and the attempts of the headers."""
    told = completion("two words")
    told["choices"][0]["logprobs"] = {"content": [{"token": "two", "logprob": -0.5}, NEXT]}
    async with asking(always(*whole(told, 200, **TOLD))) as (gateway, asked):
        answer = await gateway.ask("demo", "add 1 2", logprobs=True)
    assert (answer.text, answer.model, answer.attempts) == ("two words", "demo-small", 2)
    assert answer.logprobs == (-0.5, -0.25)
    assert answer.prompt_tokens == USAGE["prompt_tokens"]
    assert answer.completion_tokens == USAGE["completion_tokens"]
    body: dict[str, Any] = asked[0].json()
    assert body["messages"] == [{"role": "user", "content": "add 1 2"}]
    assert body["logprobs"] is True
    assert body["cache_prompt"] is False
    assert body["temperature"] == 0
    assert asked[0].headers["authorization"] == "Bearer ecl_x"


NEXT = {"token": " ", "logprob": -0.25}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (whole({"error": {"message": "no such model"}}, 404), "404.*no such model"),
        (whole({"choices": []}), "no answer"),
        (whole(b"<html>"), "no answer"),
    ],
    ids=["status", "empty", "web page"],
)
async def test_a_failure_is_no_wrong_answer(steps: list[Any], reason: str) -> None:
    """A measurement of a gateway that fails must fail, not count the task as a mistake."""
    async with asking(always(*steps)) as (gateway, _):
        with pytest.raises(UpstreamFailed, match=reason):
            await gateway.ask("demo", "x")


async def test_a_connection_that_breaks_is_an_error() -> None:
    """In the middle of a body, too."""
    cut = head(content_type="application/json", content_length="100", **TOLD)
    async with asking(always(cut, b"{", CLOSE)) as (gateway, _):
        with pytest.raises(aiohttp.ClientError):
            await gateway.ask("demo", "x")


async def test_late_attempts_are_waited_for() -> None:
    """What was given up is counted a moment later: the reading is taken again until it is."""
    async with asking(in_turn(counted(4), counted(5), counted(7))) as (gateway, asked):
        before = await gateway.read()
        after = await gateway.read_settled(before, 3)
    assert before.total().calls == 4
    assert after.since(before).total().calls == 3
    assert len(asked) == 3


async def test_a_reading_of_nothing() -> None:
    """A gateway that has not been asked yet has no deployments in its metrics."""
    async with asking(always(*whole(b"", content_type="text/plain"))) as (gateway, _):
        assert await gateway.read() == Reading({})
