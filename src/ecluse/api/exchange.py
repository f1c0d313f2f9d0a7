"""One HTTP exchange over raw ASGI: read a bounded body, answer once, notice who left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any

import msgspec

from ecluse.api.shown_answer import DATA, END
from ecluse.domain.errors import BodyTooLarge, EcluseError, InvalidRequest, MethodNotAllowed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before its answer; logged, never sent."""


class ClientLeft(Exception):
    """The client closed its connection."""


class Exchange:
    """A request and the means to answer it.

    ``status`` is what was sent, 0 before. ``request_id`` goes into every answer's headers.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, root_path: str = ""
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"].removeprefix(root_path)
        self.request_id = request_id
        self.status = 0
        self.is_finished = False
        self.receive = receive
        self._send = send
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]

    def header(self, name: bytes) -> bytes | None:
        """A request header by its lower-case name."""
        for key, value in self._headers:
            if key == name:
                return value
        return None

    async def body(self, limit_bytes: int) -> bytes:
        """Read the whole body. Raises BodyTooLarge, ClientLeft."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > limit_bytes:
            raise _too_large(limit_bytes)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def respond(
        self, status: int, body: bytes, content_type: bytes, headers: Headers = ()
    ) -> None:
        """Answer at once."""
        length = str(len(body)).encode()
        await self._start(status, content_type, [(b"content-length", length), *headers])
        await self.finish(body if self.method != "HEAD" else b"")

    async def respond_json(self, status: int, value: object, headers: Headers = ()) -> None:
        """Answer with a value as JSON."""
        await self.respond(status, msgspec.json.encode(value), b"application/json", headers)

    async def respond_error(self, error: EcluseError) -> None:
        """Answer with an OpenAI-shaped error."""
        headers: list[tuple[bytes, bytes]] = []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", str(error.retry_after_s).encode()))
        if error.http_status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", error.allowed.encode()))
        await self.respond_json(error.http_status, error_body(error), headers)

    async def break_off(self, error: EcluseError) -> None:
        """End with an error: as an answer of its own, or inside the stream that was begun."""
        if self.status == 0:
            await self.respond_error(error)
        else:
            await self.finish(DATA + msgspec.json.encode(error_body(error)) + END)

    async def start_stream(self, headers: Headers = ()) -> None:
        """Send 200 and the headers of a server-sent event stream."""
        no_buffering = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await self._start(200, b"text/event-stream; charset=utf-8", [*no_buffering, *headers])

    async def write(self, piece: bytes) -> None:
        """Send a piece of a stream; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self, piece: bytes = b"") -> None:
        """Send the last piece."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": False})
        self.is_finished = True

    async def _start(self, status: int, content_type: bytes, headers: Headers) -> None:
        self.status = status
        all_headers = [
            (b"content-type", content_type),
            (b"x-request-id", self.request_id.encode()),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})


class WhileConnected:
    """Runs a block only as long as the client is there.

    ASGI cancels nothing by itself. On leaving, the block is cancelled and ClientLeft comes out of
    it.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._left = False

    async def __aenter__(self) -> None:
        self._block = asyncio.current_task()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, _: object, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._left and kind is asyncio.CancelledError and self._block is not None:
            self._block.uncancel()
            raise ClientLeft

    async def _watch(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            pass
        if not self._exchange.is_finished and self._block is not None:
            self._left = True
            self._block.cancel()


def error_body(error: EcluseError) -> dict[str, object]:
    """The OpenAI shape of an error."""
    return {
        "error": {
            "message": str(error),
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request's body is larger than {limit_bytes} bytes.",
        next_step="Send less, or raise server.max_body_bytes in the configuration.",
    )


def not_json(error: Exception) -> InvalidRequest:
    """The error for a body that is not JSON; the reason names the position."""
    return InvalidRequest(
        f"The body is not valid JSON: {error}.",
        next_step="Send a JSON object with Content-Type: application/json.",
    )
