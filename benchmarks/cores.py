"""Which core the gateway has to itself, and which one the load and the mock upstream share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil


def two_cores(usable: Sequence[int], siblings: Callable[[int], set[int]]) -> tuple[int, int]:
    """The first core, and another for the load: of another physical core where there is one.

    What runs on the other thread of a physical core slows the first down, which its CPU time
    would show.
    """
    first, *others = usable
    if not others:
        return first, first
    apart = [core for core in others if core not in siblings(first)]
    return first, (apart or others)[0]


def thread_siblings(core: int) -> set[int]:
    """The logical cores of this one's physical core; itself alone where that is not known."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return parse_cores(path.read_text())
    except (OSError, ValueError):
        return {core}


def parse_cores(text: str) -> set[int]:
    """The kernel's notation: `0,4` or `0-1,8`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


# The cores we may use, asked before anything is bound to one of them.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
GATEWAY_CORE, LOAD_CORE = two_cores(CORES, thread_siblings)


def can_pin() -> bool:
    """Whether processes can be bound to cores here, with a core for each side."""
    return hasattr(os, "sched_setaffinity") and GATEWAY_CORE != LOAD_CORE


def pin_self(core: int) -> None:
    """Binds the calling thread, and all that it starts from now on."""
    if can_pin():
        os.sched_setaffinity(0, {core})


def busy_seconds(core: int) -> float:
    """What everything on this core has taken so far, other machines of the same host included."""
    times = psutil.cpu_times(percpu=True)[core]
    resting = ("idle", "iowait", "guest", "guest_nice")  # guests are within user time already
    return float(sum(value for name, value in times._asdict().items() if name not in resting))


@contextlib.contextmanager
def started_on(core: int) -> Iterator[None]:
    """What the block starts runs on this core from its first moment, and so does all it starts.

    Binding a process once it runs would miss what it has started by then: nginx's worker, threads.
    """
    if not can_pin():
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)
