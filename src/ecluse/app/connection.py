"""A connection to a client, given up when the client reads nothing for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """uvicorn's, with a limit to how long its buffer may stay as full as it is.

    ASGI cannot tell a client that reads slowly from one that does not read at all, and closing
    waits until the buffer is empty. So the limit stands here, for answers that are over as well.
    """

    def __init__(self, *args: Any, stalled_client_s: Callable[[], float], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stalled_client_s = stalled_client_s
        self._stall_check: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def pause_writing(self) -> None:
        """The buffer is full: the client has to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It did."""
        self._unwatch()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._stall_check = self.loop.call_later(self._stalled_client_s(), self._check)

    def _unwatch(self) -> None:
        if self._stall_check is not None:
            self._stall_check.cancel()

    def _check(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch()
        else:
            self.transport.abort()
