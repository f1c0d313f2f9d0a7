"""An upstream without a model: it answers every request with the same words.

It serves to try clients before any model is there, and as the fake of the Upstream port.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

import msgspec

from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.errors import UpstreamError
from ecluse.domain.values.answer import ChoicePiece, Event, Events
from ecluse.domain.values.request import Call
from ecluse.domain.values.usage import Usage


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


class ScriptedUpstream:
    """Answers ``model`` by a script; a token is a word."""

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
            events = (
                _chunks(self._model, script, call)
                if call.stream
                else (_whole(self._model, script, call),)
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


def _piece(script: Script, text: str, finish_reason: str | None = None) -> ChoicePiece:
    tokens = 0 if script.least_logprob is None else len(text.split())
    return ChoicePiece(0, text, text, finish_reason, script.least_logprob, tokens)


def _left_of(script: Script, call: Call) -> str:
    """What is left to say of the reply."""
    if script.continues:
        last = msgspec.json.decode(call.body)["messages"][-1]
        if last["role"] == "assistant" and script.reply.startswith(last["content"]):
            return script.reply[len(last["content"]) :]
    return script.reply


def _usage(script: Script, call: Call, reply: str) -> Usage | None:
    if not script.reports_usage:
        return None
    return Usage(sum(len(text.split()) for text in call.texts), len(reply.split()))


def _envelope(model: str, kind: str, choice: dict[str, object]) -> dict[str, object]:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "logprobs": None} | choice],
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


def _whole(model: str, script: Script, call: Call) -> Event:
    reply = _left_of(script, call)
    usage = _usage(script, call, reply)
    message = {"role": "assistant", "content": reply}
    body = _envelope(model, "chat.completion", {"message": message, "finish_reason": "stop"})
    piece = _piece(script, reply, "stop")
    return Event(msgspec.json.encode(body | _usage_fields(usage)), (piece,), usage, model)


def _chunks(model: str, script: Script, call: Call) -> list[Event]:
    reply = _left_of(script, call)
    words = re.findall(r"\s*\S+\s?", reply) or [reply]
    kind = "chat.completion.chunk"
    events = []
    for position, word in enumerate(words):
        role = {"role": "assistant"} if position == 0 else {}
        body = _envelope(model, kind, {"delta": role | {"content": word}, "finish_reason": None})
        events.append(Event(msgspec.json.encode(body), (_piece(script, word),), None, model))
    usage = _usage(script, call, reply)
    last = _envelope(model, kind, {"delta": {}, "finish_reason": "stop"}) | _usage_fields(usage)
    events.append(
        Event(msgspec.json.encode(last), (ChoicePiece(0, finish_reason="stop"),), usage, model)
    )
    return events
