"""An upstream on a real socket whose behaviour is the name of the model that is asked.

It runs on a thread and an event loop of its own, so that nothing a test does delays it, and it
knows at any time how many answers are under way.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Body = dict[str, Any]

WORDS = ("one ", "two ", "three ", "four ", "five")
TEXT = "".join(WORDS)
USAGE: Body = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
TOOL_CALL: Body = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"town": "Écluse"}'},
}
PAUSE_S = 0.25
"""Between two words of what is slow."""
LATE_S = 1.2
"""Before what is late begins."""
ENDLESS_PIECE = "x" * 16_000
RETRY_AFTER_S = 7


class MockServer:
    """Serves ``/v1`` without a tokenizer and ``/counting/v1`` with one that counts words."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.open_streams = 0
        self.sent = 0
        """Pieces of streams so far."""
        self.hesitated = 0
        """How often it was asked where it takes its time."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mock-upstream", daemon=True)

    @property
    def url(self) -> str:
        """Its base, for OpenAI clients."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def counting_url(self) -> str:
        """The base that has a ``/tokenize`` beside it."""
        return f"http://127.0.0.1:{self._port}/counting/v1"

    @property
    def hesitant_url(self) -> str:
        """The base that takes its time to say which models it has."""
        return f"http://127.0.0.1:{self._port}/hesitant/v1"

    def let_go(self, words: int = 1) -> None:
        """Have what is gated say so many words more."""
        for _ in range(words):
            self._loop.call_soon_threadsafe(lambda: self.gate.release())

    def last(self) -> Body:
        """The body of the newest chat request."""
        return self.requests[-1]

    def __enter__(self) -> MockServer:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the mock upstream did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.gate = asyncio.Semaphore(0)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app[SERVER] = self
        for prefix in ("", "/counting"):
            app.router.add_post(f"{prefix}/v1/chat/completions", self._chat)
        app.router.add_post("/counting/tokenize", _tokenize)
        app.router.add_get("/hesitant/v1/models", self._hesitate)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        with self._counted():
            return await BEHAVIOURS[body["model"]](request, body)

    async def _hesitate(self, _: web.Request) -> web.Response:
        self.hesitated += 1
        await asyncio.sleep(LATE_S)
        return web.json_response({"object": "list", "data": []})

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1


SERVER = web.AppKey("server", MockServer)


async def _tokenize(request: web.Request) -> web.Response:
    """Words are tokens."""
    words = (await request.json())["content"].split()
    return web.json_response({"tokens": list(range(len(words)))})


# What an answer is made of.


def whole(message: Body, finish_reason: str = "stop", **more: object) -> Body:
    """A ``chat.completion``."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "what-the-upstream-calls-it",
        "choices": [choice],
        "x_unknown": {"kept": [1, 2.50, None]},
    } | more


def chunk(delta: Body, finish_reason: str | None = None, **more: object) -> Body:
    """A ``chat.completion.chunk``."""
    choice: Body = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    if "logprobs" in more:
        choice["logprobs"] = more.pop("logprobs")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "what-the-upstream-calls-it",
        "choices": [choice],
        "x_unknown": {"kept": [1, 2.50, None]},
    } | more


def usage_chunk() -> Body:
    """Usage in a chunk of its own, as OpenAI sends it."""
    return chunk({}) | {"choices": [], "usage": USAGE}


def wants_usage(body: Body) -> bool:
    """Whether the gateway asked for usage in the stream."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def said() -> Iterator[Body]:
    """The words, one a chunk."""
    yield chunk({"role": "assistant", "content": ""})
    for word in WORDS:
        yield chunk({"content": word})


async def streamed(request: web.Request, pieces: AsyncIterator[Body | bytes]) -> web.StreamResponse:
    """Send server-sent events; bytes go as they are."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for piece in pieces:
        raw = (
            piece if isinstance(piece, bytes) else b"data: " + json.dumps(piece).encode() + b"\n\n"
        )
        await response.write(raw)
        request.app[SERVER].sent += 1
    await response.write_eof()
    return response


DONE = b"data: [DONE]\n\n"


# The behaviours.


async def normal(request: web.Request, body: Body) -> web.StreamResponse:
    """Answers the words; usage as it is asked for."""
    count = body.get("n") or 1
    if not body.get("stream"):
        answer = whole({"role": "assistant", "content": TEXT}, usage=USAGE)
        answer["choices"] = [answer["choices"][0] | {"index": i} for i in range(count)]
        if body.get("logprobs"):
            for choice in answer["choices"]:
                choice["logprobs"] = logprobs(-0.25)
        return web.json_response(answer)

    async def pieces() -> AsyncIterator[Body | bytes]:
        for index in range(count):
            for piece in (*said(), chunk({}, "stop")):
                piece["choices"][0]["index"] = index
                if body.get("logprobs"):
                    piece["choices"][0]["logprobs"] = logprobs(-0.25)
                yield piece
        if wants_usage(body):
            yield usage_chunk()
        yield DONE

    return await streamed(request, pieces())


def logprobs(value: float) -> Body:
    """The log-probability of one token."""
    return {"content": [{"token": "one", "logprob": value, "bytes": None, "top_logprobs": []}]}


async def slow(request: web.Request, body: Body) -> web.StreamResponse:
    """Pauses before each word."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in said():
            yield piece
            await asyncio.sleep(PAUSE_S)
        yield chunk({}, "stop")
        if wants_usage(body):
            yield usage_chunk()
        yield DONE

    return await streamed(request, pieces())


async def gated(request: web.Request, body: Body) -> web.StreamResponse:
    """Says a word each time that it is let go."""
    server = request.app[SERVER]

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in said():
            if piece["choices"][0]["delta"]["content"]:
                await server.gate.acquire()
            yield piece
        yield chunk({}, "stop")
        yield DONE

    try:
        return await streamed(request, pieces())
    finally:
        server.gate = asyncio.Semaphore(0)


async def crawling(request: web.Request, body: Body) -> web.StreamResponse:
    """A word, and then another one in a minute."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in said():
            yield piece
            if piece["choices"][0]["delta"]["content"]:
                await asyncio.sleep(60)

    return await streamed(request, pieces())


async def doubting(request: web.Request, body: Body) -> web.StreamResponse:
    """Words that carry log-probabilities and never end: a cascade goes on holding them."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        while True:
            yield chunk({"content": "word "}, logprobs=logprobs(-0.01))
            await asyncio.sleep(PAUSE_S)

    return await streamed(request, pieces())


async def silent(request: web.Request, body: Body) -> web.StreamResponse:
    """Never even sends its headers."""
    await asyncio.sleep(3_600)
    raise AssertionError("unreachable")


async def headers_only(request: web.Request, body: Body) -> web.StreamResponse:
    """Sends its headers and nothing more."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        await asyncio.sleep(3_600)
        yield b""

    return await streamed(request, pieces())


async def late(request: web.Request, body: Body) -> web.StreamResponse:
    """Begins late, then is normal."""
    await asyncio.sleep(LATE_S)
    return await normal(request, body)


async def late_failure(request: web.Request, body: Body) -> web.StreamResponse:
    """Fails late."""
    await asyncio.sleep(LATE_S)
    return await broken(request, body)


async def cut(request: web.Request, body: Body) -> web.StreamResponse:
    """Breaks its connection off after two words."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in list(said())[:3]:
            yield piece
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.close()

    return await streamed(request, pieces())


async def ends_early(request: web.Request, body: Body) -> web.StreamResponse:
    """Ends its body properly after two words, without a finish_reason or ``[DONE]``."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in list(said())[:3]:
            yield piece

    return await streamed(request, pieces())


async def error_within(request: web.Request, body: Body) -> web.StreamResponse:
    """Sends an error object after two words."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in list(said())[:3]:
            yield piece
        yield {"error": {"message": "the card is on fire", "type": "server_error", "code": 500}}

    return await streamed(request, pieces())


async def no_done(request: web.Request, body: Body) -> web.StreamResponse:
    """Whole, but for ``[DONE]``."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in (*said(), chunk({}, "stop"), usage_chunk()):
            yield piece

    return await streamed(request, pieces())


async def no_finish(request: web.Request, body: Body) -> web.StreamResponse:
    """Says ``[DONE]`` without ever giving a finish_reason."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in said():
            yield piece
        yield DONE

    return await streamed(request, pieces())


async def usage_within(request: web.Request, body: Body) -> web.StreamResponse:
    """Reports usage in the last chunk that has choices."""
    if not body.get("stream"):
        return await normal(request, body)

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in said():
            yield piece
        yield chunk({}, "stop", usage=USAGE)
        yield DONE

    return await streamed(request, pieces())


async def no_usage(request: web.Request, body: Body) -> web.StreamResponse:
    """Never reports usage."""
    if not body.get("stream"):
        return web.json_response(whole({"role": "assistant", "content": TEXT}))

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in (*said(), chunk({}, "stop")):
            yield piece
        yield DONE

    return await streamed(request, pieces())


async def zero_usage(request: web.Request, body: Body) -> web.StreamResponse:
    """Claims that nothing was used."""
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not body.get("stream"):
        return web.json_response(whole({"role": "assistant", "content": TEXT}, usage=nothing))

    async def pieces() -> AsyncIterator[Body | bytes]:
        for piece in (*said(), chunk({}, "stop", usage=nothing)):
            yield piece
        yield DONE

    return await streamed(request, pieces())


async def garbage(request: web.Request, body: Body) -> web.StreamResponse:
    """Something that is no OpenAI answer."""
    if not body.get("stream"):
        return web.Response(text="<html>It works!</html>", content_type="text/html")

    async def pieces() -> AsyncIterator[Body | bytes]:
        yield b"data: {not json\n\n"

    return await streamed(request, pieces())


async def picky(request: web.Request, body: Body) -> web.StreamResponse:
    """400, with a reason."""
    error = {
        "message": "temperature must be 1 for this model",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }
    return web.json_response({"error": error}, status=400)


async def busy(request: web.Request, body: Body) -> web.StreamResponse:
    """429, with Retry-After."""
    error = {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return web.json_response({"error": error}, status=429, headers=headers)


async def broken(request: web.Request, body: Body) -> web.StreamResponse:
    """500."""
    return web.json_response({"error": {"message": "out of memory"}}, status=500)


async def tools(request: web.Request, body: Body) -> web.StreamResponse:
    """Calls a tool; its stream ends with ``stop``, as some servers' do."""
    if not body.get("stream"):
        message = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
        return web.json_response(whole(message, "tool_calls", usage=USAGE))
    arguments = TOOL_CALL["function"]["arguments"]

    async def pieces() -> AsyncIterator[Body | bytes]:
        first = TOOL_CALL | {"index": 0, "function": {"name": "weather", "arguments": ""}}
        yield chunk({"role": "assistant", "tool_calls": [first]})
        for part in (arguments[:6], arguments[6:]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield chunk({}, "stop")
        if wants_usage(body):
            yield usage_chunk()
        yield DONE

    return await streamed(request, pieces())


async def reasoning(request: web.Request, body: Body) -> web.StreamResponse:
    """Thinks aloud before it answers."""
    thought = {"reasoning_content": "let me see", "thinking_blocks": [{"signature": "abc="}]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": TEXT} | thought
        return web.json_response(whole(message, usage=USAGE))

    async def pieces() -> AsyncIterator[Body | bytes]:
        yield chunk({"role": "assistant"} | thought)
        for piece in (*said(), chunk({}, "stop")):
            yield piece
        if wants_usage(body):
            yield usage_chunk()
        yield DONE

    return await streamed(request, pieces())


async def endless(request: web.Request, body: Body) -> web.StreamResponse:
    """Never stops, as fast as it is read."""

    async def pieces() -> AsyncIterator[Body | bytes]:
        while True:
            yield chunk({"content": ENDLESS_PIECE})

    return await streamed(request, pieces())


async def bulky(request: web.Request, body: Body) -> web.StreamResponse:
    """An answer too large for the buffers between two sockets, all in one piece."""
    text = ENDLESS_PIECE * 500
    if not body.get("stream"):
        return web.json_response(whole({"role": "assistant", "content": text}, usage=USAGE))

    async def pieces() -> AsyncIterator[Body | bytes]:
        yield chunk({"content": text}, "stop")
        yield DONE

    return await streamed(request, pieces())


BEHAVIOURS: Mapping[str, Callable[[web.Request, Body], Awaitable[web.StreamResponse]]] = {
    behaviour.__name__.replace("_", "-"): behaviour
    for behaviour in (
        *(normal, slow, gated, crawling, doubting, silent, headers_only, late, late_failure),
        *(cut, ends_early, error_within, no_done, no_finish, usage_within, no_usage),
        zero_usage,
        *(garbage, picky, busy, broken, tools, reasoning, endless, bulky),
    )
}


def configuration(server: MockServer, name: str = "mock") -> str:
    """An upstream entry that offers every behaviour under its name."""
    lines = ["[[upstreams]]", 'kind = "http"', f'name = "{name}"', f'url = "{server.url}"']
    for model in BEHAVIOURS:
        lines += ["[[upstreams.models]]", f'name = "{model}"']
    return "\n".join(lines) + "\n"
