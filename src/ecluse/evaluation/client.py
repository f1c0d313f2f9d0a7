"""A gateway as a client sees it: streamed chat over HTTP, and ``/metrics``."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec

from ecluse.domain.errors import UpstreamFailed
from ecluse.evaluation.meter import Reading, read_metrics

DATA = b"data:"
DONE = b"[DONE]"
ANSWER_TOKENS = 600
"""The longest right answer of the demonstration's tasks has some 540."""
SETTLING_PATIENCE_S = 5.0
SETTLING_PAUSE_S = 0.005


class Answer(msgspec.Struct, frozen=True):
    """What a client knows of an answer once it is whole.

    ``model`` answered after so many ``attempts``; ``logprobs`` are there when asked for.
    """

    text: str
    model: str
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[float, ...] = ()


class _Delta(msgspec.Struct):
    content: str | None = None


class _Token(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Told(msgspec.Struct):
    """What the last chunk says where the headers had left before it was known."""

    model: str | None = None
    attempts: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    ecluse: _Told | None = None
    error: object = None


_chunks = msgspec.json.Decoder(_Chunk)


class Gateway:
    """A running gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, model: str, prompt: str, *, logprobs: bool = False) -> Answer:
        """Ask one question and read the stream to its end. Raises UpstreamFailed."""
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Else a strategy would profit from prompts that an earlier one has had computed.
            "cache_prompt": False,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
        url = f"{self._url}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=self._headers) as response:
            if response.status != 200:
                text = await response.text()
                raise UpstreamFailed(f"The gateway said {response.status}: {text}")
            told = _Told(
                response.headers.get("x-ecluse-model"),
                int(response.headers.get("x-ecluse-attempts", 1)),
            )
            return await _read(response.content, told)

    async def read(self) -> Reading:
        """What its deployments have used so far."""
        async with self._session.get(f"{self._url}/metrics", headers=self._headers) as response:
            response.raise_for_status()
            return read_metrics(await response.text())

    async def read_settled(self, before: Reading, attempts: int) -> Reading:
        """The reading that holds at least so many more attempts than one before.

        An attempt that was given up is counted a moment after the client has its answer. Where
        they never come the latest reading has to do.
        """
        give_up_s = time.monotonic() + SETTLING_PATIENCE_S
        while True:
            reading = await self.read()
            settled = reading.since(before).total().calls >= attempts
            if settled or time.monotonic() > give_up_s:
                return reading
            await asyncio.sleep(SETTLING_PAUSE_S)


async def _read(stream: aiohttp.StreamReader, told: _Told) -> Answer:
    """Put a stream of server-sent events together; the gateway writes one line for each."""
    texts: list[str] = []
    logprobs: list[float] = []
    usage = _Usage()
    async for line in stream:
        if not line.startswith(DATA):
            continue
        payload = line[len(DATA) :].strip()
        if payload == DONE:
            return Answer(
                "".join(texts),
                told.model or "",
                told.attempts or 1,
                usage.prompt_tokens,
                usage.completion_tokens,
                tuple(logprobs),
            )
        chunk = _chunks.decode(payload)
        if chunk.error is not None:
            raise UpstreamFailed(f"The gateway broke off: {chunk.error}")
        usage = chunk.usage or usage
        told = chunk.ecluse or told
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            if choice.logprobs is not None:
                logprobs += (token.logprob for token in choice.logprobs.content or ())
    raise UpstreamFailed("The gateway's stream ended without [DONE].")
