"""One target, one round: started, measured idle, under requests, under streams, and stopped."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable

import msgspec

from benchmarks.closed_loop import StreamResult
from benchmarks.open_loop import RateResult
from benchmarks.processes import (
    GATEWAY_CORE,
    LOAD_CORE,
    ROOT,
    Process,
    module,
    own_environment,
)
from benchmarks.targets import Prepared

CHUNK_INTERVAL_MS = 8
STREAMS, CHUNKS_PER_STREAM = 20, 200
CONNECTIONS = 32
BODY_BYTES = 1000
SETTLE_S = 1.0


class Round(msgspec.Struct, frozen=True):
    """What one round says about one target."""

    ready_s: float
    idle_mb: float
    loaded_mb: float
    request_us: float
    chunk_us: float
    requests: RateResult
    streams: StreamResult

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


def measure(target: Prepared, seconds: float, tell: Callable[[str], None]) -> Round:
    """One round of a target."""
    tell("starting")
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
        _rate(target, 1.0)
        _stream(target, 0.1)
        tell("requests")
        before = process.cpu_seconds()
        requests = _rate(target, seconds)
        request_us = _per(process.cpu_seconds() - before, requests.answered)
        tell("streams")
        before = process.cpu_seconds()
        streams = _stream(target, seconds)
        spent = process.cpu_seconds() - before
        # What a stream costs as a request is known by now; the rest is the chunks'.
        chunk_us = _per(spent - streams.started * request_us / 1e6, streams.chunks)
        loaded_mb = process.resident() / 1e6
    return Round(ready_s, idle_mb, loaded_mb, request_us, chunk_us, requests, streams)


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


def _rate(target: Prepared, seconds: float) -> RateResult:
    more = ["--rate", str(target.rate), "--connections", str(CONNECTIONS)]
    more += ["--bytes", str(BODY_BYTES)]
    return msgspec.json.decode(_load(target, "rate", seconds, *more), type=RateResult)


def _stream(target: Prepared, seconds: float) -> StreamResult:
    more = ["--streams", str(STREAMS), "--chunks", str(CHUNKS_PER_STREAM)]
    return msgspec.json.decode(_load(target, "stream", seconds, *more), type=StreamResult)


def _load(target: Prepared, mode: str, seconds: float, *more: str) -> bytes:
    command = module("benchmarks.load", mode, "--port", str(target.port), "--key", target.key)
    command += ["--seconds", str(seconds), *more]
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
