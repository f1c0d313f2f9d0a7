"""Starts a child process for one model and watches over it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.domain.errors import ModelFileBroken, UpstreamUnreachable

logger = logging.getLogger(__name__)

CHILD_MODULE = "ecluse.adapters.upstreams.llama_cpp.child"
START_PATIENCE_S = 600.0
"""Large models on slow disks load for minutes."""
STOP_PATIENCE_S = 5.0
LAST_WORDS_S = 5.0
"""How long a child that failed may take to write the rest of its log, in which the reason is."""
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A child that served for so long did not die of what the one before it died of."""

MIB = 2**20
MOST_CACHE_MIB = 8_192
CACHE_SHARE = 8
"""Of the machine's memory, one in so many parts may hold prompts for a child to take up again."""

LINES_KEPT = 20
LINE_CHARACTERS = 500
PIECE_BYTES = 8_192
LOADING_FAILED = "error loading model: "


class EngineSettings(msgspec.Struct, frozen=True):
    """What a child is started with.

    ``context_tokens`` is for each of ``parallel`` requests; ``threads``, ``gpu_layers``, the
    default ``temperature`` and ``flash_attention`` None leave the choice to the engine.
    """

    file: Path
    alias: str
    context_tokens: int
    parallel: int = 4
    threads: int | None = None
    gpu_layers: int | None = None
    temperature: float | None = None
    flash_attention: bool | None = None


FileState = tuple[int, int] | None
"""When a file was changed (ns), and its size; None while there is none."""


class Address(msgspec.Struct, frozen=True):
    """Where a running child listens, and its key."""

    url: str
    key: str


class Engine:
    """One child at a time. It is started when first needed, and again after it died: at once
    the first time, then after growing pauses. A broken file is left alone until it changes.
    """

    def __init__(self, settings: EngineSettings, steady_after_s: float = STEADY_AFTER_S) -> None:
        self._settings = settings
        self._steady_after_s = steady_after_s
        self._process: Process | None = None
        self._address: Address | None = None
        self._starting: asyncio.Task[Address] | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self._last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._deaths = 0
        self._not_before_s = 0.0
        self._serving_since_s = 0.0
        self._file_state: FileState = None
        self._broken: str | None = None
        self._cpu_seconds_before = 0.0
        self._cpu_seconds_now = 0.0
        self._stopping = False

    async def address(self) -> Address:
        """Where it listens, once it does. Raises UpstreamUnreachable with the reason."""
        if self._address is not None:
            return self._address
        if self._stopping:
            raise self._unreachable("it was stopped")
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if starting.cancelled() and caller is not None and not caller.cancelling():
                raise self._unreachable("it was stopped") from None
            raise

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
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._watching:
            await asyncio.wait(self._watching)

    def _started(self, task: asyncio.Task[Address]) -> None:
        self._starting = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s", error)

    async def _start(self) -> Address:
        await self._refuse_the_hopeless()
        key = secrets.token_hex(16)
        process, watch = await self._spawn()
        try:
            told = await asyncio.wait_for(
                _handshake(process, self._settings, key), START_PATIENCE_S
            )
        except BaseException as error:
            await _end(process, watch)
            if isinstance(error, TimeoutError):
                raise self._unreachable(f"not ready after {START_PATIENCE_S:.0f} s") from error
            raise
        if "url" not in told or watch.done():
            await asyncio.wait((watch,), timeout=LAST_WORDS_S)
            await _end(process, watch)
            reason = self._last_words(told.get("error"))
            if await asyncio.to_thread(_is_broken, self._settings.file):
                self._broken = reason
            raise self._unreachable(reason)
        self._serving_since_s = time.monotonic()
        self._address = Address(told["url"], key)
        return self._address

    async def _refuse_the_hopeless(self) -> None:
        """Raise where a start can only fail, or failed too short a time ago."""
        state = await asyncio.to_thread(_state_of, self._settings.file)
        if state != self._file_state:
            self._file_state, self._broken = state, None
            self._deaths, self._not_before_s = 0, 0.0
        if self._broken is not None:
            raise self._unreachable(self._broken, LONGEST_PAUSE_S)
        wait_s = self._not_before_s - time.monotonic()
        if wait_s > 0:
            raise self._unreachable("it failed a moment ago", wait_s)

    async def _spawn(self) -> tuple[Process, asyncio.Task[None]]:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", CHILD_MODULE, stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            raise self._unreachable(f"no process for it ({error.strerror or error})") from error
        self._process = process
        watch = asyncio.create_task(self._watch(process))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)
        return process, watch

    async def _watch(self, process: Process) -> None:
        """Keep the child's last lines, and notice its death at once."""
        if process.stderr is not None:
            await self._keep_last_lines(process.stderr)
        status = await process.wait()
        self._cpu_seconds_before += self._cpu_seconds_now
        self._cpu_seconds_now = 0.0
        if self._process is process:
            self._forgive_if_steady()
            self._process = self._address = None
        if self._stopping:
            return
        pause_s = 0.0 if self._deaths == 0 else min(2.0 ** (self._deaths - 1), LONGEST_PAUSE_S)
        self._deaths += 1
        self._not_before_s = time.monotonic() + pause_s
        logger.warning("the engine of %s ended with status %s", self._settings.alias, status)

    def _forgive_if_steady(self) -> None:
        """A child that served for long starts the count of deaths anew."""
        served_s = time.monotonic() - self._serving_since_s
        if self._address is not None and served_s >= self._steady_after_s:
            self._deaths = 0

    async def _keep_last_lines(self, stderr: asyncio.StreamReader) -> None:
        self._last_lines.clear()
        begun = b""
        while piece := await stderr.read(PIECE_BYTES):
            *lines, begun = (begun + piece).split(b"\n")
            self._last_lines.extend(map(_shortened, filter(bytes.strip, lines)))
            begun = begun[:PIECE_BYTES]
        if begun.strip():
            self._last_lines.append(_shortened(begun))

    def _last_words(self, told: str | None) -> str:
        """Why it ended: what it logged of the file, else what it told, else its last line."""
        for line in self._last_lines:
            if (words := line.partition(LOADING_FAILED)[2]).strip():
                return words
        return told or (self._last_lines[-1] if self._last_lines else "it ended without a word")

    def _unreachable(self, reason: str, wait_s: float = 1.0) -> UpstreamUnreachable:
        # Clients read this, and where files are is not their business.
        reason = reason.replace(str(self._settings.file), self._settings.file.name)
        return UpstreamUnreachable(
            f"The engine of {self._settings.alias} does not start: {reason.rstrip('.')}.",
            next_step=f"Check the file {self._settings.file.name}; `ecluse doctor` tells more.",
            retry_after_s=max(1, round(wait_s)),
        )


async def _handshake(process: Process, settings: EngineSettings, key: str) -> dict[str, str]:
    """Tell a child its settings. What it tells; nothing where it died without a whole sentence."""
    if process.stdin is None or process.stdout is None:
        return {}
    values = msgspec.structs.asdict(settings) | {
        "file": str(settings.file),
        "key": key,
        "cache_mib": min(MOST_CACHE_MIB, psutil.virtual_memory().total // MIB // CACHE_SHARE),
    }
    process.stdin.write(msgspec.json.encode(values) + b"\n")
    line = await process.stdout.readline()
    try:
        return msgspec.json.decode(line, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


async def _end(process: Process, watch: asyncio.Task[None]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await asyncio.wait((watch,))


def _shortened(line: bytes) -> str:
    return line.decode(errors="replace").strip()[:LINE_CHARACTERS]


def _state_of(file: Path) -> FileState:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _is_broken(file: Path) -> bool:
    try:
        read_facts(file)
    except ModelFileBroken:
        return True
    return False
