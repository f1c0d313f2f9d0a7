"""A gateway as a client sees it: chat over HTTP, and ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import aiohttp
import msgspec

from ecluse.domain.errors import UpstreamFailed
from ecluse.evaluation.meter import Reading, read_metrics

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


class _Message(msgspec.Struct):
    content: str | None = None


class _Token(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Whole(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage = msgspec.field(default_factory=_Usage)


_answers = msgspec.json.Decoder(_Whole)


class Gateway:
    """A running gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, model: str, prompt: str, *, logprobs: bool = False) -> Answer:
        """Ask one question. Raises UpstreamFailed.

        Not streamed: writing chunks takes the engine of the least model as long as computing them.
        """
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
            # Else a strategy would profit from prompts that an earlier one has had computed.
            "cache_prompt": False,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
        url = f"{self._url}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=self._headers) as response:
            told = await response.read()
            if response.status != 200:
                text = told.decode(errors="replace")
                raise UpstreamFailed(f"The gateway said {response.status}: {text}")
            return _read(told, response.headers)

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


def _read(body: bytes, headers: Mapping[str, str]) -> Answer:
    try:
        whole = _answers.decode(body)
        (choice,) = whole.choices
    except (msgspec.DecodeError, ValueError) as error:
        raise UpstreamFailed(f"The gateway's answer is no answer: {error}") from error
    tokens = choice.logprobs.content if choice.logprobs is not None else None
    return Answer(
        choice.message.content or "",
        headers.get("x-ecluse-model", ""),
        int(headers.get("x-ecluse-attempts", 1)),
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
        tuple(token.logprob for token in tokens or ()),
    )
