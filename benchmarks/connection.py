"""One kept-alive HTTP connection of the loader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools


class Connection(asyncio.Protocol):
    """One kept-alive connection that carries one exchange at a time."""

    def __init__(self, on_end: Callable[[Connection, int], None]) -> None:
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self.on_part: Callable[[bytes], None] | None = None

    @property
    def alive(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Sends one request; `on_end` is called with its status, 0 if it came to nothing."""
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._busy = True
        self._transport.write(data)

    def close(self) -> None:
        """Closes the connection, whatever is under way on it."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what was under way, without an answer."""
        self._transport = None
        self._end(0)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, body: bytes) -> None:
        """Hands a part of the body to whoever wants it."""
        if self.on_part is not None:
            self.on_part(body)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        status, keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        if not keep_alive:
            self.close()
        self._end(status)

    def _end(self, status: int) -> None:
        if self._busy:
            self._busy = False
            self._on_end(self, status)


async def connect(port: int, on_end: Callable[[Connection, int], None]) -> Connection:
    """Opens a connection to this port of the loopback."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Connection(on_end), "127.0.0.1", port)
    return protocol
