"""One generation of the configuration: its fleet, its gateway, and the requests it still serves."""

from __future__ import annotations

import asyncio
import logging

from ecluse.api.serving import Serving
from ecluse.config.load import Loaded
from ecluse.runtime.fleet import FleetKeeper

logger = logging.getLogger(__name__)


class Generation:
    """Lives until it is retired and the last request that began with it is over."""

    def __init__(self, loaded: Loaded, serving: Serving, fleet: FleetKeeper) -> None:
        self.stalled_client_s = loaded.configuration.server.stalled_client_seconds
        self.serving = serving
        self.fleet = fleet
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        every_s = loaded.configuration.discovery.every_seconds
        self._looking = asyncio.create_task(fleet.run(every_s), name=f"fleet-{loaded.generation}")

    def enter(self) -> None:
        """A request begins."""
        self._in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        """A request is over."""
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()

    async def first_look(self, patience_s: float) -> None:
        """Wait until the fleet was looked at once, but not for ever."""
        try:
            await asyncio.wait_for(self.fleet.first_look.wait(), patience_s)
        except TimeoutError:
            return  # what answers slowly is found a little later

    async def retire(self, patience_s: float | None = None) -> None:
        """Stop looking at its fleet and wait, perhaps not for ever, for its last request's end."""
        self._looking.cancel()
        await asyncio.wait((self._looking,))
        try:
            await asyncio.wait_for(self._idle.wait(), patience_s)
        except TimeoutError:
            logger.error("%d requests did not end in time", self._in_flight)
