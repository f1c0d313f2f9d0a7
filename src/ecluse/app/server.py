"""Serves the application over HTTP until a signal says stop."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from ecluse.api.dispatch import Dispatcher
from ecluse.app.connection import Connection
from ecluse.app.neighbour import is_an_ecluse
from ecluse.config.schema import Server
from ecluse.domain.errors import PortTaken, StartError

logger = logging.getLogger(__name__)

BACKLOG = 2_048
FORCED_EVERY_S = 0.1
FORCED_END_S = 2.0
"""How long requests that are broken off may take to tell their clients and settle."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine on the fastest event loop this machine has."""
    loop_factory = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_awaited(main))


async def _awaited(main: Callable[[], Awaitable[None]]) -> None:
    await main()


def bound_socket(host: str, port: int) -> socket.socket:
    """Take the address. Raises PortTaken or StartError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", -1)):
            raise _taken(host, port) from error
        raise StartError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}.",
            next_step="Check server.host and server.port in the configuration.",
        ) from error
    return listener


def _taken(host: str, port: int) -> PortTaken:
    if is_an_ecluse(host, port):
        return PortTaken(
            f"Port {port} on {host} is taken: an Ecluse is serving there already.",
            next_step=f"Use that one, or choose another port: --port {_other(port)}.",
        )
    return PortTaken(
        f"Port {port} on {host} is taken by another program.",
        next_step=f"Stop that program, or choose another port: --port {_other(port)}.",
    )


def _other(port: int) -> int:
    return port + 1 if port < 65_535 else port - 1


class HttpServer:
    """uvicorn with our settings: no access log, no lifespan, no websockets, a bounded drain."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Server,
        listener: socket.socket,
        stalled_client_s: Callable[[], float],
    ) -> None:
        self._listener = listener
        config = uvicorn.Config(
            dispatcher,
            http=_connections(stalled_client_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("server", "ecluse")],
            backlog=BACKLOG,
            root_path="",
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        )
        self._server = _Server(config)

    async def serve(self, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Serve until SIGINT or SIGTERM, then let answers end for ``drain_seconds``.

        A second SIGINT breaks them off. ``on_ready`` is awaited once connections are taken.
        """
        self._server.on_ready = on_ready
        await self._server.serve(sockets=[self._listener])


def _connections(stalled_client_s: Callable[[], float]) -> type[asyncio.Protocol]:
    """What makes a connection, in the place where uvicorn takes a class."""
    return cast("type[asyncio.Protocol]", partial(Connection, stalled_client_s=stalled_client_s))


class _Server(uvicorn.Server):
    """uvicorn, telling when it takes connections and keeping the signals once it stopped.

    uvicorn would raise the signal again after its shutdown, and another one would find nobody to
    take it: either would end the process before what is settled was written.
    """

    on_ready: Callable[[], Awaitable[None]]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in STOP_SIGNALS:
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            await self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        breaking_off = asyncio.create_task(self._break_off_once_forced())
        await super().shutdown(sockets)
        if not self.force_exit:
            breaking_off.cancel()
        await asyncio.wait((breaking_off,))

    async def _break_off_once_forced(self) -> None:
        """uvicorn only stops waiting then: requests would run on, and keep what they use."""
        while not self.force_exit:  # noqa: ASYNC110 (uvicorn tells nobody)
            await asyncio.sleep(FORCED_EVERY_S)
        if tasks := self.server_state.tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=FORCED_END_S)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
