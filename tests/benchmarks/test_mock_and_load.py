"""The measuring tools count right: the loader against the mock, with nothing between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from benchmarks.percentiles import percentile
from benchmarks.requests import ASKING_FOR_LOGPROBS, Target, request_body
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import closed_loop, mock_answers, mock_upstream, open_loop

Mock = tuple[int, mock_upstream.Counters]


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    """A mock with a chunk every 2 ms: its port and its counters."""
    server, port, shared = await mock_upstream.start(interval=0.002)
    yield port, shared.counters
    server.close()


async def _until(counters: mock_upstream.Counters, field: str, value: int) -> None:
    for _ in range(200):
        if getattr(counters, field) == value:
            return
        await asyncio.sleep(0.01)
    assert getattr(counters, field) == value


async def test_rate_answers_every_planned_request(mock: Mock) -> None:
    """As many requests as planned arrive, and all are answered."""
    port, counters = mock
    result = await open_loop.rate(Target(port), per_second=200, connections=4, seconds=0.5)
    assert (result.planned, result.answered, counters.requests) == (100, 100, 100)
    assert (result.errors, result.non_200) == (0, 0)
    assert result.latency_ms is not None
    await _until(counters, "open_connections", 0)


async def test_rate_counts_what_is_not_200(mock: Mock) -> None:
    """An answer of another status is an answer, but not a good one."""
    target = Target(mock[0], path="/elsewhere")
    result = await open_loop.rate(target, per_second=100, connections=2, seconds=0.2)
    assert (result.answered, result.non_200, result.errors) == (20, 20, 0)


async def test_streams_count_every_chunk(mock: Mock) -> None:
    """Every chunk that was sent is found, and every stream ends with [DONE]."""
    port, counters = mock
    result = await closed_loop.stream(Target(port), streams=5, seconds=10, chunks=30, most=10)
    assert (result.started, result.completed, result.errors) == (10, 10, 0)
    assert result.chunks == counters.chunks == 300
    assert result.chunk_latency_ms is not None
    assert result.first_chunk_ms is not None
    assert (counters.active_streams, counters.aborted_streams) == (0, 0)


async def test_a_stream_cut_short_is_an_error_here_and_aborted_there(mock: Mock) -> None:
    """Who leaves mid-stream has an error, and the mock counts one stream that was aborted."""
    port, counters = mock
    result = await closed_loop.stream(
        Target(port), streams=1, seconds=0.05, chunks=10_000, most=1, grace=0.1
    )
    assert (result.started, result.completed, result.errors) == (1, 0, 1)
    await _until(counters, "aborted_streams", 1)
    assert (counters.active_streams, counters.open_connections) == (0, 0)


async def test_a_stream_has_its_end_its_usage_and_its_done(mock: Mock) -> None:
    """After the chunks come the finish reason, the usage with empty choices, and [DONE]."""
    port, counters = mock
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = {**request_body("mock-model", 100), "stream": True, "max_completion_tokens": 3}
    writer.write(Target(port).post(body))
    text = await reader.readuntil(b"\r\n0\r\n\r\n")
    events = [line[6:] for line in text.splitlines() if line.startswith(b"data: ")]
    assert len(events) == 6
    assert json.loads(events[3])["choices"][0]["finish_reason"] == "stop"
    assert json.loads(events[4])["choices"] == []
    assert json.loads(events[4])["usage"]["completion_tokens"] == 3
    assert events[5] == b"[DONE]"
    writer.close()
    await _until(counters, "open_connections", 0)


async def _answer(port: int, **more: object) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(Target(port).post({**request_body("mock-model", 100), **more}))
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    body = await reader.readexactly(int(length.split()[1]))
    writer.close()
    answer: dict[str, Any] = json.loads(body)
    return answer


def _shows_its_tokens(logprobs: dict[str, Any]) -> list[str]:
    """The tokens, each with the fields of OpenAI's and itself as its one alternative."""
    for token in logprobs["content"]:
        alternatives = token.pop("top_logprobs")
        assert alternatives == [token]
        assert bytes(token["bytes"]).decode() == token["token"]
        assert mock_answers.LEAST_LOGPROB <= token["logprob"] <= 0
    return [token["token"] for token in logprobs["content"]]


async def test_a_whole_answer_shows_log_probabilities_when_asked(mock: Mock) -> None:
    """One for every token that usage counts, and together they are the text."""
    port, counters = mock
    plain, asked = await _answer(port), await _answer(port, logprobs=True)
    choice = asked["choices"][0]
    tokens = _shows_its_tokens(choice["logprobs"])
    assert len(tokens) == asked["usage"]["completion_tokens"]
    assert "".join(tokens) == choice["message"]["content"]
    assert plain["choices"][0] == {**choice, "logprobs": None}
    await _until(counters, "open_connections", 0)


@pytest.mark.parametrize("asked", [False, True])
async def test_a_stream_shows_log_probabilities_when_asked(mock: Mock, asked: bool) -> None:
    """One token in every chunk with content, and none in the last."""
    port, counters = mock
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(Target(port, logprobs=asked).chat(300, stream=True, max_tokens=3))
    text = await reader.readuntil(b"\r\n0\r\n\r\n")
    lines = [line[6:] for line in text.splitlines() if line.startswith(b"data: {")]
    shown = [choice["logprobs"] for line in lines for choice in json.loads(line)["choices"]]
    assert len(shown) == 4
    assert shown[3] is None
    for logprobs in shown[:3]:
        assert len(_shows_its_tokens(logprobs)) == 1 if asked else logprobs is None
    writer.close()
    await _until(counters, "open_connections", 0)


async def test_log_probabilities_hide_no_chunk_and_show_none_twice(mock: Mock) -> None:
    """The loader finds each stamp once, also where the tokens are told again."""
    port, counters = mock
    target = Target(port, logprobs=True)
    result = await closed_loop.stream(target, streams=2, seconds=10, chunks=25, most=4)
    assert (result.completed, result.chunks) == (4, 100)
    assert counters.chunks == 100


async def test_a_slow_reader_holds_the_mock_back() -> None:
    """Who does not read gets no more chunks than the buffers hold."""
    server, port, shared = await mock_upstream.start(interval=0.0)
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    body = {**request_body("mock-model", 100), "stream": True, "max_tokens": 10**9}
    writer.write(Target(port).post(body))
    for _ in range(500):
        before = shared.counters.chunks
        await asyncio.sleep(0.05)
        if before and shared.counters.chunks == before:
            break
    assert 0 < shared.counters.chunks == before
    assert shared.counters.active_streams == 1
    writer.close()
    server.close()
    await _until(shared.counters, "active_streams", 0)


def test_a_stamp_that_two_parts_share_is_found_once() -> None:
    """Parts may end anywhere, also within a stamp or within [DONE]."""
    text = b'{"content":"@12@ "}\n\n{"content":"@345@ "}\n\ndata: [DONE]\n\n'
    for size in range(1, len(text)):
        reading = closed_loop.Reading([])
        for start in range(0, len(text), size):
            reading.part(text[start : start + size])
        assert (reading.chunks, reading.done) == (2, True)


@given(st.integers(0, 3000), st.booleans())
def test_a_body_has_the_size_asked_for(size: int, logprobs: bool) -> None:
    """Once its frame fits, a body is as large as it was asked to be, whatever it asks for."""
    more = ASKING_FOR_LOGPROBS if logprobs else {}
    least, length = (
        len(json.dumps(request_body("m", wanted, more), separators=(",", ":")))
        for wanted in (0, size)
    )
    assert length == max(size, least)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_least_value_that_covers_its_share(
    values: list[float], share: float
) -> None:
    """At least the share lies at or below it, and less than the share below it."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-9
