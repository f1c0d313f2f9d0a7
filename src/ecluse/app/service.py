"""The life of ``ecluse serve``: open, start, tell, serve, reload, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ecluse.adapters.store.store import Store, open_store
from ecluse.adapters.system_clock import SystemClock
from ecluse.adapters.telemetry.request_log import RequestLog
from ecluse.administration import KeyAdministration
from ecluse.app.application import Application, is_loopback
from ecluse.app.server import HttpServer, bound_socket
from ecluse.app.welcome import welcome
from ecluse.config.load import Loaded
from ecluse.config.schema import Server
from ecluse.domain.errors import StartError, UnsafeBinding

logger = logging.getLogger(__name__)

FIRST_KEY_NAME = "first"


async def serve(loaded: Loaded, load_again: Callable[[int], Loaded]) -> None:
    """Serve until a signal says stop. ``load_again`` reads the configuration as a new generation.

    Raises StartError.
    """
    settings = loaded.configuration.server
    listener = bound_socket(settings.host, settings.port)
    store = open_store(loaded.storage_folder(os.environ, sys.platform, Path.home()))
    lacks_keys = await _lacks_keys(store, settings)
    application = Application(store, RequestLog(sys.stderr.buffer, settings.log))
    first_key: str | None = None

    async def tell() -> None:
        host, port = listener.getsockname()[:2]
        print(welcome(host, port, first_key, application.fleet_now()), flush=True)

    try:
        await application.start(loaded)
        if lacks_keys:
            # Only now: a start that fails would have made a key that nobody ever sees.
            first_key = await _first_key(store)
            await application.read_keys()
        server = HttpServer(
            application.dispatcher, settings, listener, application.stalled_client_s
        )
        await server.serve(tell, _Reloading(application, loaded, load_again).request)
    finally:
        await application.stop()


async def _lacks_keys(store: Store, settings: Server) -> bool:
    """Whether no key was ever made. Raises UnsafeBinding where others could reach us without."""
    if await store.keys.all():
        return False
    if not is_loopback(settings.host):
        raise UnsafeBinding(
            f"{settings.host} is open to other machines and no key is defined.",
            next_step="Make a key first: `ecluse keys create`. Or listen on 127.0.0.1.",
        )
    return True


async def _first_key(store: Store) -> str:
    _, text = await KeyAdministration(store.keys, SystemClock()).create(FIRST_KEY_NAME, None, None)
    return text


class _Reloading:
    """One reload at a time; a configuration that is wrong changes nothing.

    What is asked for while one runs is done after it: the file may have changed since it was read.
    """

    def __init__(
        self, application: Application, loaded: Loaded, load_again: Callable[[int], Loaded]
    ) -> None:
        self._application = application
        self._loaded = loaded
        self._load_again = load_again
        self._wanted = False
        self._running: asyncio.Task[None] | None = None

    def request(self) -> None:
        self._wanted = True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._reload_while_wanted())

    async def _reload_while_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._reload()

    async def _reload(self) -> None:
        try:
            loaded = self._load_again(self._loaded.generation + 1)
            await self._application.reload(loaded)
        except StartError as error:
            logger.error("the configuration was not reloaded: %s", error)
            return
        before, after = self._loaded.configuration, loaded.configuration
        if (before.server.host, before.server.port) != (after.server.host, after.server.port):
            logger.warning("another host or port needs a restart")
        if before.storage != after.storage:
            logger.warning("another storage folder needs a restart")
        self._loaded = loaded
        logger.info("serving generation %d of the configuration", loaded.generation)
