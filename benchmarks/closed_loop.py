"""Concurrent streams, each followed by the next one.

The stamps of `mock_upstream` tell how long every chunk was under way.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from benchmarks.connection import Connection, connect
from benchmarks.percentiles import summary
from benchmarks.requests import Target

STAMP = re.compile(rb"@(\d+)@ ")
DONE = b"data: [DONE]"


@dataclass(slots=True)
class StreamResult:
    """What became of the streams of `stream`."""

    started: int = 0
    completed: int = 0
    errors: int = 0
    chunks: int = 0
    seconds: float = 0.0
    chunk_latency_ms: dict[str, float] | None = None
    first_chunk_ms: dict[str, float] | None = None


class Streams:
    """A closed loop: a fixed number of streams, each followed by the next one."""

    def __init__(self, target: Target, data: bytes) -> None:
        self._target, self._data = target, data
        self._latencies: list[float] = []
        self._first: list[float] = []
        self._result = StreamResult()

    async def run(self, streams: int, seconds: float, most: int, grace: float) -> StreamResult:
        """Starts streams for so many seconds, at most so many, and reads them to their end."""
        began = time.perf_counter()
        stop = began + seconds
        # Starting apart keeps the chunks of all streams from falling into one moment.
        workers = [
            asyncio.ensure_future(self._follow(0.0025 * index, stop, most))
            for index in range(streams)
        ]
        await asyncio.wait(workers, timeout=seconds + grace)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._result.errors = self._result.started - self._result.completed
        self._result.seconds = round(time.perf_counter() - began, 3)
        self._result.chunk_latency_ms = summary(self._latencies)
        self._result.first_chunk_ms = summary(self._first)
        return self._result

    async def _follow(self, delay: float, stop: float, most: int) -> None:
        await asyncio.sleep(delay)
        ended: asyncio.Queue[int] = asyncio.Queue()
        connection: Connection | None = None
        try:
            while time.perf_counter() < stop and self._result.started < most:
                self._result.started += 1
                try:
                    if connection is None or not connection.alive:
                        connection = await connect(
                            self._target.port, lambda _, status: ended.put_nowait(status)
                        )
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                await self._one(connection, ended)
        finally:
            if connection is not None:
                connection.close()

    async def _one(self, connection: Connection, ended: asyncio.Queue[int]) -> None:
        reading = Reading(self._latencies)
        connection.on_part = reading.part
        began = time.perf_counter()
        connection.send(self._data)
        status = await ended.get()
        self._result.chunks += reading.chunks
        if reading.first is not None:
            self._first.append(reading.first - began)
        if status == 200 and reading.done:
            self._result.completed += 1
        elif status != 200:
            await asyncio.sleep(0.05)


@dataclass(slots=True)
class Reading:
    """What has been read of one stream."""

    latencies: list[float]
    chunks: int = 0
    first: float | None = None
    done: bool = False
    _rest: bytes = field(default=b"")

    def part(self, data: bytes) -> None:
        """Finds the stamps of a part, also of those that two parts share."""
        now, text, end = time.monotonic_ns(), self._rest + data, 0
        for match in STAMP.finditer(text):
            end = match.end()
            self.chunks += 1
            self.latencies.append((now - int(match[1])) / 1e9)
        if self.chunks and self.first is None:
            self.first = time.perf_counter()
        self.done = self.done or DONE in text
        self._rest = text[max(end, len(text) - 40) :]


async def stream(
    target: Target,
    *,
    streams: int,
    seconds: float,
    chunks: int = 200,
    most: int = 1_000_000,
    size: int = 1000,
    grace: float = 15.0,
) -> StreamResult:
    """Concurrent streams of so many chunks each, asked for with a body of `size` bytes."""
    usage = {"include_usage": True}
    data = target.chat(size, stream=True, max_tokens=chunks, stream_options=usage)
    return await Streams(target, data).run(streams, seconds, most, grace)
