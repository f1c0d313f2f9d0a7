"""An upstream without a model: it answers every request with the same words.

It serves to try clients before any model is there, and as the fake of the Upstream port.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.errors import UpstreamError
from ecluse.domain.values.answer import ChoicePiece, Event, Events
from ecluse.domain.values.request import Call
from ecluse.domain.values.usage import Usage

_WORDS = re.compile(r"\s*\S+\s?")


class Script(msgspec.Struct, frozen=True):
    """What to answer and how.

    ``delay_s`` passes before the first event, ``piece_s`` between two. ``least_logprob`` is given
    to every piece. After ``failure_after`` events, ``failure`` is raised. ``continues`` says that
    it goes on with the reply where the last message is its beginning.
    """

    reply: str = "This is a scripted answer: no model was asked."
    delay_s: float = 0.0
    piece_s: float = 0.0
    least_logprob: float | None = None
    failure: UpstreamError | None = None
    failure_after: int = 0
    reports_usage: bool = True
    continues: bool = False


class _Asked(msgspec.Struct):
    """What of a request this upstream heeds."""

    n: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    messages: list[dict[str, Any]] = []


class _Answer(msgspec.Struct, frozen=True):
    """What is said, ``choices`` times, and what ended it; ``number`` makes its id."""

    number: int
    text: str
    finish_reason: str
    choices: int
    usage: Usage | None


class ScriptedUpstream:
    """Answers ``model`` by a script; a token is a word. It heeds ``n``, ``stop`` and limits."""

    def __init__(self, model: str, script: Script) -> None:
        self._model = model
        self._script = script
        self.calls: list[Call] = []
        self.open_attempts = 0

    @property
    def continues(self) -> bool:
        """Whether it can go on with a reply that another began."""
        return self._script.continues

    async def offers(self) -> Sequence[Offer]:
        """See Upstream.offers."""
        script = self._script
        return (
            Offer(
                self._model,
                gives_logprobs=script.least_logprob is not None,
                continuation="prefill" if script.continues else None,
            ),
        )

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """See Upstream.attempt."""
        script = self._script
        self.calls.append(call)
        self.open_attempts += 1
        try:
            await asyncio.sleep(script.delay_s)
            answer = _answer(script, call, len(self.calls))
            events = (
                _chunks(self._model, script, answer)
                if call.stream
                else (_whole(self._model, script, answer),)
            )
            for position, event in enumerate(events):
                if script.failure is not None and position == script.failure_after:
                    raise script.failure
                yield (event,)
                await asyncio.sleep(script.piece_s)
        finally:
            self.open_attempts -= 1

    async def count_tokens(self, model: str, text: str) -> int | None:
        """See Upstream.count_tokens."""
        return len(text.split())

    async def close(self) -> None:
        """See Upstream.close."""


def _answer(script: Script, call: Call, number: int) -> _Answer:
    asked = msgspec.json.decode(call.body or b"{}", type=_Asked)
    text, reason = _ended(_left_of(script, asked), asked)
    choices = asked.n or 1
    usage = None
    if script.reports_usage:
        prompt_tokens = sum(len(prompt.split()) for prompt in call.texts)
        usage = Usage(prompt_tokens, len(text.split()) * choices)
    return _Answer(number, text, reason, choices, usage)


def _left_of(script: Script, asked: _Asked) -> str:
    """What is left to say of the reply."""
    if script.continues and asked.messages:
        last = asked.messages[-1]
        if last["role"] == "assistant" and script.reply.startswith(last["content"]):
            return script.reply[len(last["content"]) :]
    return script.reply


def _ended(text: str, asked: _Asked) -> tuple[str, str]:
    """The text up to where it was asked to end, and the ``finish_reason``."""
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    text = text[: min((text.find(stop) for stop in stops if stop and stop in text), default=None)]
    limit = asked.max_completion_tokens or asked.max_tokens
    words = _WORDS.findall(text)
    if limit is None or len(words) <= limit:
        return text, "stop"
    return "".join(words[:limit]), "length"


def _piece(script: Script, index: int, text: str, finish_reason: str | None = None) -> ChoicePiece:
    tokens = 0 if script.least_logprob is None else len(text.split())
    return ChoicePiece(index, text, text, finish_reason, script.least_logprob, tokens)


def _envelope(
    model: str, kind: str, answer: _Answer, choices: list[dict[str, object]]
) -> dict[str, object]:
    return {
        "id": f"chatcmpl-scripted-{answer.number}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": [{"logprobs": None} | choice for choice in choices],
    }


def _usage_fields(usage: Usage | None) -> dict[str, object]:
    if usage is None:
        return {}
    return {
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
    }


def _whole(model: str, script: Script, answer: _Answer) -> Event:
    indices = range(answer.choices)
    message = {"role": "assistant", "content": answer.text}
    choices = [
        {"index": index, "message": message, "finish_reason": answer.finish_reason}
        for index in indices
    ]
    body = _envelope(model, "chat.completion", answer, choices) | _usage_fields(answer.usage)
    pieces = tuple(_piece(script, index, answer.text, answer.finish_reason) for index in indices)
    return Event(msgspec.json.encode(body), pieces, answer.usage, model)


def _chunks(model: str, script: Script, answer: _Answer) -> list[Event]:
    """A word after the other, each for every choice; then the end."""
    indices = range(answer.choices)
    events = []
    for position, word in enumerate(_WORDS.findall(answer.text) or [answer.text]):
        delta = ({"role": "assistant"} if position == 0 else {}) | {"content": word}
        events += [_chunk(model, answer, _piece(script, index, word), delta) for index in indices]
    ends = [ChoicePiece(index, finish_reason=answer.finish_reason) for index in indices]
    events += [_chunk(model, answer, end, {}) for end in ends[:-1]]
    return [*events, _chunk(model, answer, ends[-1], {}, answer.usage)]


def _chunk(
    model: str,
    answer: _Answer,
    piece: ChoicePiece,
    delta: dict[str, str],
    usage: Usage | None = None,
) -> Event:
    choice = {"index": piece.index, "delta": delta, "finish_reason": piece.finish_reason}
    body = _envelope(model, "chat.completion.chunk", answer, [choice]) | _usage_fields(usage)
    return Event(msgspec.json.encode(body), (piece,), usage, model)
