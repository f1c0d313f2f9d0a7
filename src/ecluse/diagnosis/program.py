"""Python, Ecluse, the packages that are machine code, and the machine itself."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import signal
import sys
from asyncio.subprocess import PIPE

import psutil

from ecluse import __version__
from ecluse.diagnosis.finding import Finding, Level

IMPORT_PATIENCE_S = 20.0
"""A cold disk reads hundreds of megabytes of GPU libraries."""

MISSING_STATUS = 3
GIB = 2**30
_TRY = """
import importlib, importlib.metadata, importlib.util, sys
if importlib.util.find_spec(sys.argv[1]) is None:
    sys.exit(3)
importlib.import_module(sys.argv[1])
print(importlib.metadata.version(sys.argv[1]))
"""


def versions() -> Finding:
    """Which Ecluse runs on which Python."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Finding(Level.FINE, "Ecluse", f"{__version__} on {python}, {platform.platform()}")


def machine() -> Finding:
    """Cores and memory."""
    memory = psutil.virtual_memory()
    threads = psutil.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or threads
    return Finding(
        Level.FINE,
        "Machine",
        f"{cores} cores, {threads} threads; {memory.available / GIB:.1f} of "
        f"{memory.total / GIB:.1f} GiB memory available",
    )


async def event_loop() -> Finding:
    """Whether uvloop works; without it the gateway is slower, broken it keeps it from starting."""
    if sys.platform == "win32":
        return Finding(Level.FINE, "uvloop", "not made for Windows, and not needed")
    status, told = await _tried("uvloop")
    if status == 0:
        return Finding(Level.FINE, "uvloop", told)
    if status == MISSING_STATUS:
        return Finding(
            Level.WARNING,
            "uvloop",
            "not installed: the gateway works, with fewer requests a second",
            "pip install uvloop",
        )
    return Finding(
        Level.BROKEN, "uvloop", f"installed, but {told}", "Take it out: pip uninstall uvloop"
    )


async def embedded_engine() -> Finding:
    """Whether the embedded llama.cpp works; without it GGUF files cannot be served."""
    status, told = await _tried("xllamacpp")
    if status == 0:
        return Finding(Level.FINE, "llama.cpp", f"xllamacpp {told}")
    detail = "xllamacpp is not installed" if status == MISSING_STATUS else f"xllamacpp {told}"
    return Finding(
        Level.WARNING,
        "llama.cpp",
        f"{detail}: neither GGUF files nor the demonstration can answer",
        f"{_mend(detail)}; or use Ollama or llama-server beside Ecluse.",
    )


def _mend(detail: str) -> str:
    """What installs what the engine lacks; its wheel leaves the OpenMP library to the system."""
    if "libgomp" in detail:
        return "apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora)"
    return "pip install --force-reinstall xllamacpp"


async def _tried(module: str) -> tuple[int, str]:
    """Import a module in a process of its own, which it may take down. Its status and version."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _TRY, module, stdout=PIPE, stderr=PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), IMPORT_PATIENCE_S)
    except TimeoutError:
        return 1, f"does not load within {IMPORT_PATIENCE_S:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    status = process.returncode or 0
    if status == 0:
        return 0, output.decode(errors="replace").strip()
    lines = errors.decode(errors="replace").strip().splitlines()
    return status, _death(status) or f"does not load: {lines[-1] if lines else f'status {status}'}"


def _death(status: int) -> str:
    """How a signal reads; a processor without the needed instructions ends in SIGILL."""
    if status >= 0:
        return ""
    name = str(-status)
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
    return f"ends its process with {name}"
