"""A gateway of one's own for a measurement: a real process with a folder of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from ecluse.adapters.store.store import open_store
from ecluse.adapters.system_clock import SystemClock
from ecluse.administration import KeyAdministration
from ecluse.domain.errors import StartError
from ecluse.evaluation.client import Gateway

START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 20.0
LOG_SHOWN_CHARACTERS = 1_000
CONFIGURATION = """\
[server]
log = "json"
[storage]
directory = "data"
[discovery]
local = false
"""


@asynccontextmanager
async def private_gateway(session: aiohttp.ClientSession) -> AsyncGenerator[Gateway, None]:
    """Start a gateway that has only the demonstration's models, and stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="ecluse-demo-") as folder:
        file = Path(folder) / "ecluse.toml"
        file.write_text(CONFIGURATION, "utf-8")
        key = await _make_key(Path(folder) / "data")
        port = _free_port()
        with (Path(folder) / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ecluse", "serve", "--config", str(file)),
                *("--port", str(port)),
                stdout=log,
                stderr=log,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                await _until_ready(session, url, process, Path(folder) / "log")
                yield Gateway(session, url, key)
            finally:
                await _stop(process)


async def _make_key(folder: Path) -> str:
    async with open_store(folder) as store:
        _, text = await KeyAdministration(store.keys, SystemClock()).create("demo", None, None)
        return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_ready(
    session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process, log: Path
) -> None:
    async with asyncio.timeout(START_PATIENCE_S):
        while process.returncode is None:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise StartError(f"The gateway did not start: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")[-LOG_SHOWN_CHARACTERS:].strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
