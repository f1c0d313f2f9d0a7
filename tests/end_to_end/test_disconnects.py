"""Clients that leave, clients that do not read, and a gateway that is told to stop meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import psutil
import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION
from tests.end_to_end.gateway_process import (
    NO_DEMONSTRATION,
    PATIENCE_S,
    QUIET,
    GatewayProcess,
    Starter,
    until,
)
from tests.end_to_end.mock_server import MockServer

STALLED_S = 1.5
GROWTH_BYTES = 20_000_000
CROWD = 50


def configuration(mock: MockServer, **server: object) -> str:
    """The mock's models, and a route whose first stage is held for ever."""
    lines = "".join(f"{name} = {value}\n" for name, value in server.items())
    return (
        f"[server]\n{lines}{QUIET}{NO_DEMONSTRATION}{mock_server.configuration(mock)}"
        '[[routes]]\nname = "held"\n'
        '[[routes.stages]]\nmodel = "doubting"\naccept_least_logprob = -5.0\n'
        '[[routes.stages]]\nmodel = "normal"\n'
    )


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """One that is quick to drop a client which reads nothing."""
    return start(configuration(mock, stalled_client_seconds=STALLED_S, hold_silently_seconds=0.2))


def request_bytes(gateway: GatewayProcess, model: str, *, stream: bool = True) -> bytes:
    """A chat request as it goes over the wire."""
    body = json.dumps({"model": model, "messages": QUESTION, "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {gateway.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def asked(
    gateway: GatewayProcess, model: str, *, stream: bool = True
) -> AsyncIterator[Connection]:
    """A connection on which a question was asked; leaving is what the client then does."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes(gateway, model, stream=stream))
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def open_streams_are(mock: MockServer, count: int) -> None:
    """Wait until so many answers are under way upstream."""
    await eventually(lambda: mock.open_streams == count, f"{count} streams are open")


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds, while this loop's connections go on."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, f"after {PATIENCE_S} s still not so: {what}"
        await asyncio.sleep(0.01)


def newest(gateway: GatewayProcess, count: int, known: int) -> list[dict[str, object]]:
    """The rows beyond those that were known before, once they are there."""
    told = f"{count} more attempts are settled"
    until(lambda: len(gateway.attempts()) >= known + count, PATIENCE_S, told)
    rows = gateway.attempts()[known:]
    assert len(rows) == count
    return rows


@pytest.fixture(scope="module")
def patient(start: Starter, mock: MockServer) -> GatewayProcess:
    """One that says nothing before the answer begins."""
    return start(configuration(mock, hold_silently_seconds=3_600))


@pytest.mark.parametrize(
    ("model", "stream", "sees_first"),
    [
        pytest.param("silent", True, b"", id="waiting for headers"),
        pytest.param("silent", False, b"", id="waiting for headers, not streamed"),
        pytest.param("silent", True, b": waiting", id="waiting for headers, after a comment"),
        pytest.param("headers-only", True, b"", id="before the first chunk"),
        pytest.param("crawling", True, b"one ", id="mid-stream"),
        pytest.param("held", True, b"", id="in a held stage"),
        pytest.param("held", True, b": waiting", id="in a held stage, after a comment"),
        pytest.param("held", False, b"", id="in a held stage, not streamed"),
    ],
)
async def test_a_client_that_leaves_closes_the_upstream(
    gateway: GatewayProcess,
    patient: GatewayProcess,
    mock: MockServer,
    model: str,
    stream: bool,
    sees_first: bytes,
) -> None:
    """In every phase; and what was used until then is settled."""
    gateway = gateway if sees_first else patient
    known, sent = len(gateway.attempts()), mock.sent
    async with asked(gateway, model, stream=stream) as (reader, _):
        if sees_first:
            await asyncio.wait_for(reader.readuntil(sees_first), PATIENCE_S)
        await open_streams_are(mock, 1)
        if model == "held":  # at the fourth word it has the first
            await eventually(lambda: mock.sent >= sent + 4, "some words were sent")
        elif model == "headers-only":
            await asyncio.sleep(0.05)  # most likely the headers have arrived then
    await open_streams_are(mock, 0)
    (row,) = newest(gateway, 1, known)
    assert row["outcome"] == "abandoned"
    assert row["prompt_tokens"] > 0
    assert row["usage_source"] == "estimate"
    assert (row["completion_tokens"] > 0) == (model in ("crawling", "held") and stream)


async def test_a_client_may_reset_its_connection(gateway: GatewayProcess, mock: MockServer) -> None:
    """A process that was killed says no goodbye: TCP's RST counts as leaving too."""
    known = len(gateway.attempts())
    async with asked(gateway, "crawling") as (reader, writer):
        await asyncio.wait_for(reader.readuntil(b"one "), PATIENCE_S)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
    await open_streams_are(mock, 0)
    (row,) = newest(gateway, 1, known)
    assert row["outcome"] == "abandoned"


@pytest.mark.parametrize("model", ["silent", "crawling"])
async def test_a_crowd_that_leaves_at_once(
    gateway: GatewayProcess, mock: MockServer, model: str
) -> None:
    """Fifty of them: none of their streams stays open, and each has its row."""
    known = len(gateway.attempts())
    async with contextlib.AsyncExitStack() as crowd:
        for _ in range(CROWD):
            await crowd.enter_async_context(asked(gateway, model))
        await open_streams_are(mock, CROWD)
    await open_streams_are(mock, 0)
    rows = newest(gateway, CROWD, known)
    assert len({row["request_id"] for row in rows}) == CROWD
    assert all(row["outcome"] == "abandoned" and row["prompt_tokens"] > 0 for row in rows)


async def test_a_reader_that_stalls_holds_bounded_memory(
    gateway: GatewayProcess, mock: MockServer
) -> None:
    """The upstream is slowed down to the client's pace, and the client dropped in the end."""
    known = len(gateway.attempts())
    process = psutil.Process(gateway.process.pid)
    before = process.memory_info().rss
    began = time.monotonic()
    async with asked(gateway, "endless") as (reader, writer):
        await asyncio.wait_for(reader.readuntil(b"xxxx"), PATIENCE_S)
        writer.transport.pause_reading()
        grown = 0

        def is_dropped() -> bool:
            nonlocal grown
            grown = max(grown, process.memory_info().rss - before)
            return mock.open_streams == 0

        await eventually(is_dropped, "it is dropped")
        assert time.monotonic() - began > STALLED_S, "it was given time"
        await no_client_is_left(process)
    assert grown < GROWTH_BYTES
    (row,) = newest(gateway, 1, known)
    assert row["outcome"] == "abandoned"
    assert row["completion_tokens"] > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_stalls_at_the_very_end(gateway: GatewayProcess, stream: bool) -> None:
    """The upstream is done by then; what waits for the client must not wait for ever."""
    process = psutil.Process(gateway.process.pid)
    answered = len(gateway.log_lines())
    async with asked(gateway, "bulky", stream=stream) as (reader, writer):
        await asyncio.wait_for(reader.readuntil(b"xxxx"), PATIENCE_S)
        writer.transport.pause_reading()
        await eventually(lambda: len(gateway.log_lines()) > answered, "the request is over")
        await no_client_is_left(process)


async def no_client_is_left(gateway: psutil.Process) -> None:
    """Wait until the gateway holds no connection of a client any more."""
    (listener,) = {c.laddr for c in gateway.net_connections() if c.status == psutil.CONN_LISTEN}

    def is_alone() -> bool:
        return not any(c.laddr == listener and c.raddr for c in gateway.net_connections())

    await eventually(is_alone, "no client is left")


async def test_a_slow_reader_is_no_stalled_one(gateway: GatewayProcess, mock: MockServer) -> None:
    """Who reads a little at a time keeps its stream for longer than a stall may last."""
    async with asked(gateway, "endless") as (reader, _):
        ends = time.monotonic() + STALLED_S * 1.6
        while time.monotonic() < ends:
            assert await asyncio.wait_for(reader.read(50_000), PATIENCE_S)
            await asyncio.sleep(0.02)
        assert mock.open_streams == 1
    await open_streams_are(mock, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_answers_end(
    start: Starter, mock: MockServer, number: signal.Signals
) -> None:
    """Mid-stream: the stream ends whole, its row is written, and the exit code is 0."""
    gateway = start(configuration(mock))
    async with asked(gateway, "slow") as (reader, _):
        await asyncio.wait_for(reader.readuntil(b"one "), PATIENCE_S)
        gateway.signal(number)
        rest = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode()
    assert "five" in rest
    assert "data: [DONE]" in rest
    gateway.wait()
    (row,) = gateway.attempts()
    assert row["outcome"] == "answered"
    assert row["prompt_tokens"] == mock_server.USAGE["prompt_tokens"]
    assert gateway.log_lines()[-1]["status"] == 200


async def test_a_stop_does_not_wait_for_ever(start: Starter, mock: MockServer) -> None:
    """After drain_seconds what still runs is broken off, settled, and the exit code is 0."""
    gateway = start(configuration(mock, drain_seconds=1))
    async with asked(gateway, "crawling") as (reader, _):
        await asyncio.wait_for(reader.readuntil(b"one "), PATIENCE_S)
        gateway.signal(signal.SIGTERM)
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert b'"error"' in rest
    assert b"[DONE]" not in rest
    await asyncio.to_thread(gateway.wait)
    await open_streams_are(mock, 0)
    (row,) = gateway.attempts()
    assert row["outcome"] == "abandoned"
    assert row["prompt_tokens"] > 0


async def test_a_stop_does_not_wait_for_a_stalled_reader(start: Starter, mock: MockServer) -> None:
    """Who does not read cannot be told anything, and holds nothing up beyond the drain."""
    gateway = start(configuration(mock, drain_seconds=1))
    async with asked(gateway, "endless") as (reader, writer):
        await asyncio.wait_for(reader.readuntil(b"xxxx"), PATIENCE_S)
        writer.transport.pause_reading()
        await asyncio.sleep(0.3)  # most likely every buffer is full then
        gateway.signal(signal.SIGTERM)
        await asyncio.to_thread(gateway.wait)
    (row,) = gateway.attempts()
    assert row["completion_tokens"] > 0


async def test_a_stop_tells_those_who_still_wait(start: Starter, mock: MockServer) -> None:
    """Who has got nothing yet when the drain is over gets 503 and is told to come back."""
    gateway = start(configuration(mock, drain_seconds=1, hold_silently_seconds=30))
    async with asked(gateway, "silent") as (reader, _):
        await open_streams_are(mock, 1)
        gateway.signal(signal.SIGTERM)
        answer = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode()
    assert answer.startswith("HTTP/1.1 503")
    assert "retry-after: " in answer
    assert "stopping" in answer
    await asyncio.to_thread(gateway.wait)
    (row,) = gateway.attempts()
    assert row["outcome"] == "abandoned"


async def test_a_kill_loses_no_row_that_was_written(start: Starter, mock: MockServer) -> None:
    """kill -9 amid traffic: the database is whole, and what others saw in it is still there."""
    gateway = start(configuration(mock))
    for _ in range(20):
        async with asked(gateway, "normal") as (reader, _):
            await asyncio.wait_for(reader.readuntil(b"[DONE]"), PATIENCE_S)
    await eventually(lambda: len(gateway.attempts()) == 20, "the rows are written")
    async with asked(gateway, "crawling") as (reader, _):
        await asyncio.wait_for(reader.readuntil(b"one "), PATIENCE_S)
        gateway.process.kill()
        gateway.process.wait()
    await open_streams_are(mock, 0)
    key = gateway.key
    gateway.start()
    with closing(sqlite3.connect(gateway.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sum(row["outcome"] == "answered" for row in gateway.attempts()) == 20
    assert gateway.key == key, "the second start makes no second key"
    async with asked(gateway, "normal") as (reader, _):
        answer = (await asyncio.wait_for(reader.readuntil(b"[DONE]\n\n"), PATIENCE_S)).decode()
    assert answer.startswith("HTTP/1.1 200")
    await eventually(lambda: len(gateway.attempts()) >= 21, "the new row is written")
