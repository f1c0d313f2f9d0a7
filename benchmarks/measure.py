"""One target, one round: started, measured idle, under requests, under streams, and stopped.

A target that is asked in several ways is asked in one process, there and back (A B C C B A), so
that the ways differ in nothing else.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable

import msgspec

from benchmarks.closed_loop import StreamResult
from benchmarks.cores import GATEWAY_CORE, LOAD_CORE, busy_seconds, can_pin
from benchmarks.open_loop import RateResult
from benchmarks.processes import ROOT, Process, module, own_environment
from benchmarks.targets import Prepared, Way

CHUNK_INTERVAL_MS = 8
STREAMS, CHUNKS_PER_STREAM = 20, 200
CONNECTIONS = 32
BODY_BYTES = 1000
SETTLE_S = 1.0
# After a load, until what it caused is done: the ledger is written every 100 ms.
AFTERMATH_S = 0.3


class Round(msgspec.Struct, frozen=True):
    """What one round, or one half of it, says about one way of asking a target."""

    ready_s: float
    idle_mb: float
    loaded_mb: float
    request_us: float
    chunk_us: float
    requests: RateResult
    streams: StreamResult
    others_share: float = 0.0
    """How much of the gateway's core went to processes that are not the target's, in [0, 1]."""

    @property
    def failures(self) -> int:
        """Requests and streams that did not end as they should."""
        return self.requests.errors + self.requests.non_200 + self.streams.errors


def start_mock() -> tuple[Process, int]:
    """The upstream, on the load's core, and its port."""
    command = module("benchmarks.mock_upstream", "--port", "0")
    command += ["--interval-ms", str(CHUNK_INTERVAL_MS)]
    mock = Process(command, core=LOAD_CORE, stdout=subprocess.PIPE)
    assert mock.popen.stdout is not None
    line = mock.popen.stdout.readline()
    if not line:
        mock.stop()
        raise RuntimeError("the mock upstream did not start")
    return mock, int(json.loads(line)["port"])


def measure(
    target: Prepared, seconds: float, tell: Callable[[str], None]
) -> dict[str, list[Round]]:
    """One round of a target, by the ways it is asked: each for so many seconds in all."""
    tell("starting")
    found: dict[str, list[Round]] = {way.name: [] for way in target.ways}
    with Process(
        target.command,
        core=GATEWAY_CORE,
        directory=target.directory,
        environment=target.environment,
    ) as process:
        ready_s = process.wait_ready(target.port, target.ready_path, target.ready_within)
        time.sleep(SETTLE_S)
        idle_mb = process.resident() / 1e6
        tell("warming up")
        for way in target.ways:
            _rate(target, way, 1.0)
            _stream(target, way, 0.1)
        order = target.ways if len(target.ways) == 1 else (*target.ways, *reversed(target.ways))
        each = seconds * len(target.ways) / len(order)
        for way in order:
            others = _Others(process)
            requests, request_us = _requests(process, target, way, each, tell)
            streams, chunk_us = _streams(process, target, way, each, tell, request_us)
            loaded_mb = process.resident() / 1e6
            memory = ready_s, idle_mb, loaded_mb
            found[way.name].append(
                Round(*memory, request_us, chunk_us, requests, streams, others.share())
            )
    return found


class _Others:
    """What runs on the gateway's core besides the target, from now on."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._began, self._before = time.perf_counter(), self._taken()

    def share(self) -> float:
        """Of the time since the start; 0 where the target has no core of its own."""
        share = (self._taken() - self._before) / (time.perf_counter() - self._began)
        return min(1.0, max(0.0, share)) if can_pin() else 0.0

    def _taken(self) -> float:
        return busy_seconds(GATEWAY_CORE) - self._process.cpu_seconds()


def _requests(
    process: Process, target: Prepared, way: Way, seconds: float, tell: Callable[[str], None]
) -> tuple[RateResult, float]:
    tell(f"{way.name}, requests")
    before = _settled(process)
    result = _rate(target, way, seconds)
    return result, _per(_settled(process) - before, result.answered)


def _streams(
    process: Process,
    target: Prepared,
    way: Way,
    seconds: float,
    tell: Callable[[str], None],
    request_us: float,
) -> tuple[StreamResult, float]:
    tell(f"{way.name}, streams")
    before = _settled(process)
    result = _stream(target, way, seconds)
    spent = _settled(process) - before
    # What a stream costs as a request is known by now; the rest is the chunks'.
    return result, _per(spent - result.started * request_us / 1e6, result.chunks)


def help_seconds(times: int = 5) -> float:
    """Wall time of `python -m ecluse --help`, the median of several, after one that warms up."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(
            module("ecluse", "--help"),
            cwd=ROOT,
            env=own_environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _per(cpu_seconds: float, count: int) -> float:
    return cpu_seconds / count * 1e6 if count else float("nan")


def _settled(process: Process) -> float:
    """CPU seconds used so far, with what the last load left to do."""
    time.sleep(AFTERMATH_S)
    return process.cpu_seconds()


def _rate(target: Prepared, way: Way, seconds: float) -> RateResult:
    more = ["--rate", str(target.rate), "--connections", str(CONNECTIONS)]
    return msgspec.json.decode(_load(target, way, "rate", seconds, *more), type=RateResult)


def _stream(target: Prepared, way: Way, seconds: float) -> StreamResult:
    more = ["--streams", str(STREAMS), "--chunks", str(CHUNKS_PER_STREAM)]
    return msgspec.json.decode(_load(target, way, "stream", seconds, *more), type=StreamResult)


def _load(target: Prepared, way: Way, mode: str, seconds: float, *more: str) -> bytes:
    command = module("benchmarks.load", mode, "--port", str(target.port), "--key", target.key)
    command += ["--model", way.model, *(["--logprobs"] if way.logprobs else [])]
    command += ["--seconds", str(seconds), "--bytes", str(BODY_BYTES), *more]
    # It inherits our core, which is the load's.
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=own_environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    return done.stdout
