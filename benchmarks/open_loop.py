"""Requests at a constant rate, however long the answers take.

A request's latency counts from the moment it was due, also if it waits for a free connection.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass

from benchmarks.connection import Connection, connect
from benchmarks.percentiles import summary
from benchmarks.requests import Target

GRACE = 5.0  # seconds that what is under way at the end may still take


@dataclass(slots=True)
class RateResult:
    """What became of the requests of `rate`."""

    planned: int = 0
    answered: int = 0
    non_200: int = 0
    errors: int = 0
    seconds: float = 0.0
    latency_ms: dict[str, float] | None = None


class Rate:
    """An open loop: requests at a constant rate over a fixed number of connections."""

    def __init__(self, target: Target, data: bytes, connections: int) -> None:
        self._target, self._data, self._connections = target, data, connections
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._since: dict[Connection, float] = {}
        self._latencies: list[float] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._result = RateResult()

    async def run(self, rate: float, seconds: float) -> RateResult:
        """Sends `rate * seconds` requests, then waits a while for the last answers."""
        await asyncio.gather(*(self._open() for _ in range(self._connections)))
        loop, stop, began = asyncio.get_running_loop(), threading.Event(), time.perf_counter()
        total = int(rate * seconds)
        moments = [began + number / rate for number in range(total)]
        try:
            await loop.run_in_executor(None, self._pace, loop, moments, stop)
        finally:
            stop.set()
        for _ in range(int(GRACE / 0.005)):
            if not self._since and not self._waiting:
                break
            await asyncio.sleep(0.005)
        self._result.planned = total
        self._result.errors += len(self._since) + len(self._waiting)
        self._result.seconds = round(time.perf_counter() - began, 3)
        self._result.latency_ms = summary(self._latencies)
        self._close()
        return self._result

    def _pace(
        self, loop: asyncio.AbstractEventLoop, moments: list[float], stop: threading.Event
    ) -> None:
        """Lets every request go at its moment.

        In a thread, because the timers of an event loop count milliseconds: requests would come in
        bunches, and who is woken once for several works cheaper than under real traffic.
        """
        for moment in moments:
            while (pause := moment - time.perf_counter()) > 0:
                time.sleep(min(pause, 0.1))
            if stop.is_set():
                return
            loop.call_soon_threadsafe(self._take, moment)

    def _take(self, moment: float) -> None:
        self._waiting.append(moment)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.popleft()
            if connection.alive:
                self._since[connection] = self._waiting.popleft()
                connection.send(self._data)
            else:
                self._reopen()

    def _on_end(self, connection: Connection, status: int) -> None:
        since = self._since.pop(connection, None)
        if since is None:
            return
        if status == 0:
            self._result.errors += 1
        else:
            self._result.answered += 1
            self._latencies.append(time.perf_counter() - since)
            self._result.non_200 += status != 200
        if connection.alive:
            self._idle.append(connection)
            self._send_waiting()
        else:
            self._reopen()

    def _reopen(self) -> None:
        task = asyncio.ensure_future(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            self._idle.append(await connect(self._target.port, self._on_end))
        except OSError:
            await asyncio.sleep(0.05)
            self._reopen()

    def _close(self) -> None:
        for task in self._opening:
            task.cancel()
        waiting, self._since = list(self._since), {}
        for connection in (*self._idle, *waiting):
            connection.close()


async def rate(
    target: Target, *, per_second: float, connections: int, seconds: float, size: int = 1000
) -> RateResult:
    """Requests of `size` bytes at a constant rate."""
    data = target.chat(size)
    return await Rate(target, data, connections).run(per_second, seconds)
