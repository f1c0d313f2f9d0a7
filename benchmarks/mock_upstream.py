"""An upstream that speaks OpenAI's API and costs next to nothing.

Every streamed chunk carries the moment it was sent (`@<monotonic ns>@ `), so that whoever reads it
on the same machine knows how long it was under way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass, field
from typing import cast

import httptools
import msgspec

from benchmarks import loops
from benchmarks.mock_answers import (
    AROUND_STAMP,
    BAD_REQUEST,
    COMPLETIONS,
    MODELS,
    NOT_FOUND,
    STREAM_HEAD,
    end_of_stream,
    framed,
    response,
)

DEFAULT_CHUNKS = 20


class ChatRequest(msgspec.Struct):
    """The fields of a chat completion request that decide the answer."""

    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None

    @property
    def chunks(self) -> int:
        """How many content chunks a stream has."""
        wanted = self.max_tokens if self.max_tokens is not None else self.max_completion_tokens
        return DEFAULT_CHUNKS if wanted is None else max(0, wanted)


@dataclass(slots=True)
class Counters:
    """What `GET /stats` tells."""

    requests: int = 0
    chunks: int = 0
    open_connections: int = 0
    active_streams: int = 0
    aborted_streams: int = 0


@dataclass(slots=True)
class Shared:
    """What all connections of one server share."""

    interval: float
    counters: Counters = field(default_factory=Counters)


class MockProtocol(asyncio.Protocol):
    """One connection: parses requests, answers at once or streams on a timer."""

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._counters = shared.counters
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []
        self._streaming = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._total = self._sent = 0
        self._around_stamp = AROUND_STAMP[False]
        self._due = 0.0

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._counters.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection; a stream it cut short was aborted."""
        self._transport = None
        self._counters.open_connections -= 1
        self._stop_timer()
        if self._streaming:
            self._streaming = False
            self._counters.active_streams -= 1
            self._counters.aborted_streams += 1

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; whoever sends something else or talks during a stream is cut off."""
        try:
            if not self._streaming:
                self._parser.feed_data(data)
                return
        except httptools.HttpParserError:
            pass
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The reader is slow: no chunk until it has caught up."""
        self._paused = True
        self._stop_timer()

    def resume_writing(self) -> None:
        """The reader has caught up: go on from now, without a burst."""
        self._paused = False
        if self._streaming:
            self._due = self._loop.time()
            self._send_due()

    # --- httptools ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A new request starts."""
        self._path = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        """Notes (a part of) the path."""
        self._path += url

    def on_body(self, body: bytes) -> None:
        """Notes a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answers the request."""
        method, path = self._parser.get_method(), self._path.partition(b"?")[0]
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self._counters.requests += 1
            self._complete(b"".join(self._body))
        elif method == b"GET" and path.endswith(b"/models"):
            self._write(MODELS)
        elif method == b"GET" and path == b"/stats":
            self._write(response(b"200 OK", self._counters))
        else:
            self._write(NOT_FOUND)

    # --- answers --------------------------------------------------------------------------------

    def _complete(self, body: bytes) -> None:
        try:
            request = msgspec.json.decode(body, type=ChatRequest)
        except msgspec.MsgspecError:
            self._write(BAD_REQUEST)
            return
        if not request.stream:
            self._write(COMPLETIONS[bool(request.logprobs)])
            return
        self._streaming = True
        self._counters.active_streams += 1
        self._total, self._sent = request.chunks, 0
        self._around_stamp = AROUND_STAMP[bool(request.logprobs)]
        self._write(STREAM_HEAD)
        self._due = self._loop.time() + self._shared.interval
        self._timer = self._loop.call_at(self._due, self._send_due)

    def _send_due(self) -> None:
        """Sends the chunk that is due, and plans the next one (or the end)."""
        self._timer = None
        if self._sent >= self._total:
            self._end_stream()
            return
        self._sent += 1
        self._counters.chunks += 1
        before, after = self._around_stamp
        self._write(framed(b"%b%d%b" % (before, time.monotonic_ns(), after)))
        # One late chunk does not make the next one late; more than one interval is not caught up.
        self._due = max(self._due, self._loop.time() - self._shared.interval)
        self._due += self._shared.interval
        if self._streaming and not self._paused and self._timer is None:
            self._timer = self._loop.call_at(self._due, self._send_due)

    def _end_stream(self) -> None:
        self._write(end_of_stream(self._total))
        self._streaming = False
        self._counters.active_streams -= 1

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def start(port: int = 0, interval: float = 0.01) -> tuple[asyncio.Server, int, Shared]:
    """Listens on the loopback; the server, its port and what its connections share."""
    loop = asyncio.get_running_loop()
    shared = Shared(interval)
    server = await loop.create_server(
        lambda: MockProtocol(shared, loop), "127.0.0.1", port, backlog=1024
    )
    return server, int(server.sockets[0].getsockname()[1]), shared


async def _serve(port: int, interval: float) -> None:
    server, bound, _ = await start(port, interval)
    print(f'{{"port": {bound}}}', flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows ends it without asking
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
    await stop.wait()
    server.close()


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    parser.add_argument("--interval-ms", type=float, default=10.0, help="between chunks")
    arguments = parser.parse_args()
    loops.run(_serve(arguments.port, arguments.interval_ms / 1000))


if __name__ == "__main__":
    main()
