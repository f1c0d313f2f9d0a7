"""Starts a child process for one model and watches over it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path

import msgspec
import psutil

from ecluse.domain.errors import UpstreamUnreachable

logger = logging.getLogger(__name__)

CHILD_MODULE = "ecluse.adapters.upstreams.llama_cpp.child"
START_PATIENCE_S = 600.0
"""Large models on slow disks load for minutes."""
STOP_PATIENCE_S = 5.0
LONGEST_PAUSE_S = 30.0
LINES_KEPT = 20
LINE_CHARACTERS = 500
PIECE_BYTES = 8_192


class EngineSettings(msgspec.Struct, frozen=True):
    """What a child is started with.

    ``context_tokens`` is for each of ``parallel`` requests; ``threads``, ``gpu_layers`` and the
    default ``temperature`` None leave the choice to the engine.
    """

    file: Path
    alias: str
    context_tokens: int
    parallel: int = 4
    threads: int | None = None
    gpu_layers: int | None = None
    temperature: float | None = None


class Address(msgspec.Struct, frozen=True):
    """Where a running child listens, and its key."""

    url: str
    key: str


class Engine:
    """One child at a time. It is started when first needed, and again after it died: at once
    the first time, then after growing pauses.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._address: Address | None = None
        self._starting: asyncio.Task[Address] | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self._last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._deaths = 0
        self._not_before_s = 0.0
        self._cpu_seconds_before = 0.0
        self._cpu_seconds_now = 0.0
        self._stopping = False

    async def address(self) -> Address:
        """Where it listens, once it does. Raises UpstreamUnreachable with the reason."""
        if self._address is not None:
            return self._address
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return self._process.pid if self._process is not None else None

    def cpu_seconds(self) -> float:
        """User and system CPU seconds of the child and of those before it."""
        if self._process is not None:
            try:
                times = psutil.Process(self._process.pid).cpu_times()
            except psutil.Error:
                pass
            else:
                self._cpu_seconds_now = times.user + times.system
        return self._cpu_seconds_before + self._cpu_seconds_now

    def resident_bytes(self) -> int:
        """Resident memory of the child; 0 while there is none."""
        if self._process is None:
            return 0
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    async def stop(self) -> None:
        """End the child: ask first, then insist."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._watching:
            await asyncio.wait(self._watching)

    def _started(self, task: asyncio.Task[Address]) -> None:
        self._starting = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s", error)

    async def _start(self) -> Address:
        wait_s = self._not_before_s - time.monotonic()
        if wait_s > 0:
            raise self._unreachable("it failed a moment ago", wait_s)
        key = secrets.token_hex(16)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", CHILD_MODULE, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        self._process = process
        watch = asyncio.create_task(self._watch(process))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)
        try:
            url = await asyncio.wait_for(self._handshake(process, key), START_PATIENCE_S)
        except BaseException:
            if process.returncode is None:
                process.kill()
            raise
        self._deaths = 0
        self._address = Address(url, key)
        return self._address

    async def _handshake(self, process: Process, key: str) -> str:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise self._unreachable("its pipes are missing")
        settings = msgspec.structs.asdict(self._settings)
        settings |= {"file": str(self._settings.file), "key": key}
        stdin.write(msgspec.json.encode(settings) + b"\n")
        line = await stdout.readline()
        told: dict[str, str] = msgspec.json.decode(line, type=dict[str, str]) if line else {}
        if "url" in told:
            return told["url"]
        await process.wait()
        raise self._unreachable(told.get("error") or self._last_words())

    async def _watch(self, process: Process) -> None:
        """Keep the child's last lines, and notice its death at once."""
        if process.stderr is not None:
            await self._keep_last_lines(process.stderr)
        status = await process.wait()
        self._cpu_seconds_before += self._cpu_seconds_now
        self._cpu_seconds_now = 0.0
        self._process = self._address = None
        if self._stopping:
            return
        pause_s = 0.0 if self._deaths == 0 else min(2.0 ** (self._deaths - 1), LONGEST_PAUSE_S)
        self._deaths += 1
        self._not_before_s = time.monotonic() + pause_s
        logger.warning("the engine of %s ended with status %s", self._settings.alias, status)

    async def _keep_last_lines(self, stderr: asyncio.StreamReader) -> None:
        while piece := await stderr.read(PIECE_BYTES):
            lines = piece.decode(errors="replace").splitlines()
            self._last_lines.extend(line[:LINE_CHARACTERS] for line in lines if line.strip())

    def _last_words(self) -> str:
        return self._last_lines[-1] if self._last_lines else "it ended without a word"

    def _unreachable(self, reason: str, wait_s: float = 1.0) -> UpstreamUnreachable:
        return UpstreamUnreachable(
            f"The engine of {self._settings.alias} does not start: {reason.rstrip('.')}.",
            next_step=f"Check the file {self._settings.file.name}; `ecluse doctor` tells more.",
            retry_after_s=max(1, round(wait_s)),
        )
