"""The life of ``ecluse serve``: open, start, tell, serve, reload, stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from ecluse.adapters.store.store import Store, open_store
from ecluse.adapters.system_clock import SystemClock
from ecluse.adapters.telemetry.request_log import RequestLog
from ecluse.administration import KeyAdministration
from ecluse.app.addresses import is_loopback
from ecluse.app.application import Application
from ecluse.app.reloading import Reloading
from ecluse.app.server import HttpServer, bound_socket
from ecluse.app.welcome import welcome
from ecluse.config.load import Loaded
from ecluse.config.schema import Server
from ecluse.domain.errors import UnsafeBinding

FIRST_KEY_NAME = "first"


async def serve(loaded: Loaded, load_again: Callable[[int], Loaded]) -> None:
    """Serve until a signal says stop. ``load_again`` reads the configuration as a new generation.

    Raises StartError.
    """
    reloading = Reloading(loaded, load_again)
    reloading.hear()
    settings = loaded.configuration.server
    listener = bound_socket(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    store = open_store(loaded.storage_folder(os.environ, sys.platform, Path.home()))
    lacks_keys = await _lacks_keys(store, settings)
    application = Application(store, RequestLog(sys.stderr.buffer, settings.log), host)
    first_key: str | None = None

    async def tell() -> None:
        print(welcome(host, port, first_key, application.fleet_now()), flush=True)

    try:
        await application.start(loaded)
        if lacks_keys:
            # Only now: a start that fails would have made a key that nobody ever sees.
            first_key = await _first_key(store)
            await application.read_keys()
        reloading.begin(application.reload)
        server = HttpServer(
            application.dispatcher, settings, listener, application.stalled_client_s
        )
        await server.serve(tell)
    finally:
        reloading.end()
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
