"""The machine a measurement was made on, as far as it matters to the figures."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """What to know when comparing figures."""

    cpu: str
    cores: int
    system: str
    python: str


def this_machine() -> Machine:
    """The facts about the machine we run on."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        system=platform.system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
