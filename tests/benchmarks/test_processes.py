"""The processes of a measurement: where they run, and what of them is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from benchmarks.cores import (
    CORES,
    GATEWAY_CORE,
    LOAD_CORE,
    busy_seconds,
    can_pin,
    parse_cores,
    started_on,
    two_cores,
)
from benchmarks.processes import NotReady, Process
from hypothesis import given
from hypothesis import strategies as st

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="cores are bound on Linux only")
BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"
SHOW_CORES = "import os; print(sorted(os.sched_getaffinity(0)))"


def _python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 4))
def test_the_load_never_shares_the_gateways_core_unless_it_must(
    usable: set[int], threads: int
) -> None:
    """Another core where there are two, and of another physical core where there is one."""
    cores = sorted(usable)

    def siblings(core: int) -> set[int]:
        return {other for other in range(64) if other // threads == core // threads}

    gateway, load = two_cores(cores, siblings)
    assert gateway == cores[0]
    assert load in usable
    assert (load == gateway) == (len(cores) == 1)
    if usable - siblings(gateway):
        assert load not in siblings(gateway)


@pytest.mark.parametrize(
    ("text", "cores"), [("0\n", {0}), ("0,4\n", {0, 4}), ("0-1\n", {0, 1}), ("0-2,8", {0, 1, 2, 8})]
)
def test_the_kernels_notation_of_cores(text: str, cores: set[int]) -> None:
    """Single cores and ranges."""
    assert parse_cores(text) == cores


@linux_only
@pytest.mark.parametrize("core", [GATEWAY_CORE, LOAD_CORE])
def test_what_is_started_is_bound_from_its_first_moment(core: int) -> None:
    """It and what it starts have one core, and ours are what they were."""
    own = os.sched_getaffinity(0)
    with started_on(core):
        done = subprocess.run(_python(SHOW_CORES), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([core] if can_pin() else CORES)
    assert os.sched_getaffinity(0) == own


def test_processor_time_counts_children_that_have_ended_too() -> None:
    """A process and the child it waited for, told of while it lives."""
    child = BUSY.format(seconds=0.3)
    text = (
        "import subprocess, sys, time\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])\n"
        f"{BUSY.format(seconds=0.3)}print(flush=True)\ntime.sleep(60)"
    )
    with Process(_python(text), core=LOAD_CORE, stdout=subprocess.PIPE) as process:
        assert process.popen.stdout is not None
        process.popen.stdout.readline()
        assert 0.55 < process.cpu_seconds() < 5


def test_a_process_that_has_ended_is_not_measured() -> None:
    """It is said how it ended, not that it used no time."""
    with Process(_python("raise SystemExit('no more')"), core=LOAD_CORE) as process:
        process.popen.wait(30)
        with pytest.raises(NotReady, match=r"(?s)ended under load with 1.*no more"):
            process.cpu_seconds()


@linux_only
def test_processor_time_is_finer_than_the_kernels_ticks() -> None:
    """Two readings of a busy process differ by less than the 10 ms in which the kernel counts."""
    with Process(_python("while True: pass"), core=LOAD_CORE) as process:
        deadline = time.monotonic() + 30
        steps: set[float] = set()
        before = process.cpu_seconds()
        while not steps and time.monotonic() < deadline:
            now = process.cpu_seconds()
            steps |= {now - before} if 0 < now - before < 0.005 else set()
            before = now
    assert steps


def test_resident_memory_is_that_of_the_whole_tree() -> None:
    """A child's memory counts as well, and the child is ended with its parent."""
    child = "b = bytearray(50_000_000)\ninput()"
    text = (
        "import subprocess, sys\n"
        f"command = [sys.executable, '-c', {child!r}]\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE)\n"
        "b = bytearray(50_000_000)\nchild.wait()"
    )
    with Process(_python(text), core=LOAD_CORE) as process:
        deadline = time.monotonic() + 30
        while process.resident() < 100_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 100_000_000 < process.resident() < 200_000_000
        tree = process.tree()
        assert len(tree) == 2
    assert not any(one.is_running() for one in tree)


@linux_only
def test_what_a_core_is_busy_with_is_counted() -> None:
    """At least what our own process takes there."""
    with Process(_python("while True: pass"), core=GATEWAY_CORE) as process:
        before, own = busy_seconds(GATEWAY_CORE), process.cpu_seconds()
        time.sleep(0.5)
        taken, busy = process.cpu_seconds() - own, busy_seconds(GATEWAY_CORE) - before
    if can_pin():
        assert busy > taken - 0.1
