"""The measuring client reads streams as a client of the gateway would, over real sockets."""

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
    chunk,
    chunks,
    data,
    delta,
    head,
    in_turn,
    stream,
    whole,
)

from ecluse.domain.errors import UpstreamFailed
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.meter import Reading

TOLD = {"x_ecluse_model": "demo-small", "x_ecluse_attempts": "2"}
STREAM_HEAD = head(content_type="text/event-stream", transfer_encoding="chunked", **TOLD)


def counted(attempts: int) -> tuple[bytes]:
    """What /metrics says after so many attempts."""
    line = f'ecluse_attempts_total{{deployment="d",outcome="answered"}} {attempts}\n'
    return whole(b"# TYPE ecluse_attempts counter\n" + line.encode(), content_type="text/plain")


@asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[tuple[Gateway, list[Request]]]:
    """A client of a server that answers so, and what the server was asked."""
    async with OpenAIServer(answer) as server, aiohttp.ClientSession() as session:
        yield Gateway(session, server.url.removesuffix("/v1"), "ecl_x"), server.requests


async def test_an_answer_is_put_together() -> None:
    """Text, usage and log-probabilities of all chunks; the model from the headers."""
    first, *rest = chunks("two ", "words")
    first["choices"][0]["logprobs"] = {"content": [{"token": "two", "logprob": -0.5}, NEXT]}
    async with asking(always(STREAM_HEAD, *stream(first, *rest)[1:])) as (gateway, asked):
        answer = await gateway.ask("demo", "add 1 2", logprobs=True)
    assert (answer.text, answer.model, answer.attempts) == ("two words", "demo-small", 2)
    assert answer.logprobs == (-0.5, -0.25)
    assert answer.prompt_tokens == USAGE["prompt_tokens"]
    assert answer.completion_tokens == USAGE["completion_tokens"]
    body: dict[str, Any] = asked[0].json()
    assert body["messages"] == [{"role": "user", "content": "add 1 2"}]
    assert body["stream"] is body["logprobs"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["cache_prompt"] is False
    assert body["temperature"] == 0
    assert asked[0].headers["authorization"] == "Bearer ecl_x"


NEXT = {"token": " ", "logprob": -0.25}


async def test_the_last_chunk_may_tell_who_answered() -> None:
    """Where the headers left before it was known; comments in between are read over."""
    told = delta(None, "stop") | {"ecluse": {"model": "demo-large", "attempts": 3}}
    steps = stream(delta("85"), told)
    async with asking(always(steps[0], chunk(b": waiting\n\n"), *steps[1:])) as (gateway, _):
        answer = await gateway.ask("demo", "add 47 38")
    assert (answer.text, answer.model, answer.attempts) == ("85", "demo-large", 3)


async def test_pieces_may_be_cut_anywhere() -> None:
    """The network knows no lines."""
    body = b"".join(map(data, (*chunks("a", "b"), b"[DONE]")))
    pieces = [chunk(body[at : at + 7]) for at in range(0, len(body), 7)]
    async with asking(always(STREAM_HEAD, *pieces, chunk(b""))) as (gateway, _):
        assert (await gateway.ask("demo", "x")).text == "ab"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (whole({"error": {"message": "no such model"}}, 404), "404.*no such model"),
        (stream(delta("8"), {"error": {"message": "it died"}}, done=False), "broke off.*it died"),
        (stream(delta("8"), done=False), r"without \[DONE\]"),
    ],
    ids=["status", "in the stream", "cut short"],
)
async def test_a_failure_is_no_wrong_answer(steps: list[Any], reason: str) -> None:
    """A measurement of a gateway that fails must fail, not count the task as a mistake."""
    async with asking(always(*steps)) as (gateway, _):
        with pytest.raises(UpstreamFailed, match=reason):
            await gateway.ask("demo", "x")


async def test_a_connection_that_breaks_is_an_error() -> None:
    """In mid-stream, too."""
    async with asking(always(*stream(delta("8"), done=False)[:-1], CLOSE)) as (gateway, _):
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
