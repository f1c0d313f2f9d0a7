"""Starts, watches and stops the processes of a measurement, each by its own id."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.cores import started_on

ROOT = Path(__file__).resolve().parent.parent


class NotReady(Exception):
    """A target did not answer in time, or ended before it did."""


def own_environment() -> dict[str, str]:
    """The environment in which the project's own modules are found, installed or not."""
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Process:
    """A process of the measurement, with all it starts."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        directory: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 — lives as long as the process
        with started_on(core):
            self.popen = subprocess.Popen(
                command,
                cwd=directory,
                env=dict(environment if environment is not None else own_environment()),
                stdin=subprocess.DEVNULL,
                stdout=self._log if stdout is None else stdout,
                stderr=self._log,
            )
        self._process = psutil.Process(self.popen.pid)

    def tree(self) -> list[psutil.Process]:
        """The process and all that descends from it."""
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree so far, also of children that have ended.

        Raises NotReady if the process has ended: what it used is no longer known.
        """
        if self.popen.poll() is not None:
            raise NotReady(f"ended under load with {self.popen.returncode}:\n{self.output()}")
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += _cpu_seconds(process)
        return total

    def resident(self) -> int:
        """Bytes of memory the whole tree has in RAM; what processes share counts in each."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += int(process.memory_info().rss)
        return total

    def wait_ready(self, port: int, path: str, within: float) -> float:
        """Seconds from the start until `GET path` answered 200."""
        end = self.started + within
        while time.perf_counter() < end:
            if self.popen.poll() is not None:
                raise NotReady(f"ended with {self.popen.returncode}:\n{self.output()}")
            if _answers(port, path):
                return time.perf_counter() - self.started
            time.sleep(0.01)
        raise NotReady(f"no answer within {within:g} s:\n{self.output()}")

    def output(self, most: int = 3000) -> str:
        """The end of what it has written."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - most))
        return self._log.read().decode(errors="replace")

    def __enter__(self) -> Process:
        """Itself; stopped at the end of the block, whatever happens in it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops the process."""
        self.stop()

    def stop(self) -> None:
        """Asks the process to end; ends what is left of its tree after 10 s."""
        tree = self.tree()
        self.popen.terminate()
        _, left = psutil.wait_procs(tree, timeout=10)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        self.popen.wait(timeout=10)
        self._log.close()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


def module(*arguments: str) -> list[str]:
    """The command that runs a module with this very interpreter."""
    return [sys.executable, "-m", *arguments]


def _cpu_seconds(process: psutil.Process) -> float:
    """Of one process and of those of its children that have ended."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    if sys.platform == "linux":
        # The process's CPU clock, clock_getcpuclockid(3): `cpu_times` counts in steps of 10 ms,
        # too coarse for the difference between two loads.
        with contextlib.suppress(OSError):
            return time.clock_gettime((~process.pid << 3) | 2) + ended
    return times.user + times.system + ended


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
