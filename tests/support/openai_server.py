"""A scripted HTTP server on a real socket, that misbehaves exactly as a test says.

Each request is answered by steps: bytes are sent as they are, a number is a pause in seconds, and
``CLOSE``, ``RESET`` and ``STALL`` are what they say. Where the steps end, the connection is kept
alive for the next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Self


class End(Enum):
    """How a connection ends, or does not."""

    CLOSE = "close"
    """The orderly end: what was sent arrives."""
    RESET = "reset"
    """TCP's RST, as from a process that was killed."""
    STALL = "stall"
    """Nothing more, until the client goes away."""


PATIENCE_S = 30.0
"""More than anything takes on a busy machine, and less than what never ends."""
CLOSE, RESET, STALL = End.CLOSE, End.RESET, End.STALL
Step = bytes | float | End


@dataclass(frozen=True)
class Request:
    """What a client sent; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


Answer = Callable[[Request], Iterable[Step]]


class OpenAIServer:
    """Listens on loopback and answers by ``answer``, which tests may swap at any time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def until(self, is_so: Callable[[Self], bool]) -> None:
        """Wait until something is so of this server; fails where it would be for ever."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: is_so(self))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            self._tasks.discard(task)
            self.open_connections -= 1
            await self._tell()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is at its end."""
        request = await _read(reader)
        self.requests.append(request)
        await self._tell()
        left = asyncio.ensure_future(reader.read(1))  # nobody sends before the answer is there
        try:
            for step in self.answer(request):
                if left.done():
                    return False
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                elif isinstance(step, End):
                    if step is STALL:
                        await left
                    elif step is RESET:
                        _reset_on_close(writer)
                    return False
                else:
                    await asyncio.wait((left,), timeout=step)
        finally:
            left.cancel()
            await asyncio.wait((left,))
        return left.cancelled()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body)


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def always(*steps: Step) -> Answer:
    """Answer every request in the same way."""
    return lambda _: steps


def in_turn(*answers: Iterable[Step]) -> Answer:
    """Answer the first request by the first steps, and so on; the last answer is repeated."""
    remaining = list(answers)
    return lambda _: remaining.pop(0) if len(remaining) > 1 else remaining[0]


@contextlib.asynccontextmanager
async def refusing_url() -> AsyncGenerator[str, None]:
    """A URL where nobody listens and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def head(status: int = 200, **headers: str) -> bytes:
    """A status line and headers; underscores in a name become hyphens."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(body: object, status: int = 200, **headers: str) -> tuple[bytes]:
    """A well-formed answer: JSON of a value, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"content_type": "application/json", "content_length": str(len(content))} | headers
    return (head(status, **told) + content,)


def chunk(content: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(content), content)


STREAM_HEAD = head(content_type="text/event-stream", transfer_encoding="chunked")


def data(payload: object) -> bytes:
    """One server-sent event: JSON of a value, or bytes as they are."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b"data: " + content + b"\n\n"


def stream(*payloads: object, done: bool = True, pause_s: float = 0.0) -> list[Step]:
    """A well-formed stream, each event in a chunk of its own."""
    steps: list[Step] = [STREAM_HEAD]
    for payload in (*payloads, *([b"[DONE]"] if done else [])):
        steps += [pause_s, chunk(data(payload))] if pause_s else [chunk(data(payload))]
    return [*steps, chunk(b"")]


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(text: str = "two words", **fields: object) -> dict[str, object]:
    """A whole answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    told = {"id": "a", "object": "chat.completion", "model": "m", "choices": [choice]}
    return told | {"usage": USAGE} | fields


def delta(text: str | None, finish_reason: str | None = None, **fields: object) -> dict[str, Any]:
    """A chunk of a stream with one choice."""
    said = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": said, "finish_reason": finish_reason}
    told = {"id": "a", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return told | fields


def chunks(*words: str) -> list[dict[str, Any]]:
    """A stream's chunks: words, the end, and usage in a chunk without choices."""
    usage = delta(None) | {"choices": [], "usage": USAGE}
    return [*map(delta, words), delta(None, "stop"), usage]
