"""Reads the configuration again on SIGHUP, where the platform has it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from ecluse.config.load import Loaded
from ecluse.config.restart import held_back
from ecluse.domain.errors import StartError

logger = logging.getLogger(__name__)


Reload = Callable[[Loaded], Awaitable[None]]


class Reloading:
    """One reload at a time; a configuration that is wrong changes nothing.

    What is asked for before ``begin``, or while a reload runs, is done after it: the file may
    have changed since it was read.
    """

    def __init__(self, loaded: Loaded, load_again: Callable[[int], Loaded]) -> None:
        self._loaded = loaded
        self._load_again = load_again
        self._asked = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def hear(self) -> None:
        """Take the signal, which would end the process, for a wish to reload."""
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)

    def begin(self, reload: Reload) -> None:
        """Do what was asked for, and what will be."""
        self._running = asyncio.create_task(self._run(reload), name="reloading")

    def end(self) -> None:
        """Reload no more."""
        if self._running is not None:
            self._running.cancel()

    async def _run(self, reload: Reload) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._once(reload)

    async def _once(self, reload: Reload) -> None:
        try:
            wanted = self._load_again(self._loaded.generation + 1)
            possible, held = held_back(self._loaded.configuration, wanted.configuration)
            loaded = replace(wanted, configuration=possible)
            await reload(loaded)
        except StartError as error:
            logger.error("the configuration was not reloaded: %s", error)
            return
        if held:
            logger.warning("needs a restart to change: %s", ", ".join(held))
        self._loaded = loaded
        logger.info("serving generation %d of the configuration", loaded.generation)
