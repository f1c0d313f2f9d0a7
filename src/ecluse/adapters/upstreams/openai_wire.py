"""OpenAI answers as upstreams send them: tolerant structs, and a reader that decides when an
answer is whole. No I/O here.

Only what decides is read; each event keeps the bytes it came in, so unknown fields survive.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from ecluse.domain.errors import UpstreamFailed, UpstreamGarbage, UpstreamTruncated
from ecluse.domain.values.answer import ChoicePiece, Event, ToolCallPiece
from ecluse.domain.values.request import spliced
from ecluse.domain.values.usage import Usage

DONE = b"[DONE]"
CHUNK = "chat.completion.chunk"
REASON_SHOWN_CHARACTERS = 2_000
TOKENS_AT_MOST = 10**9
"""No answer has more tokens: a larger count is nonsense and would overflow the ledger's sums."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    """A delta or a message."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[_ToolCall] | None = None


class _TokenLogprob(msgspec.Struct):
    logprob: float | None = None


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    def __post_init__(self) -> None:
        self.index = _number(self.index)


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None


_NOTHING_SAID = _Said()
_NAN = re.compile(rb'("logprob"\s*:\s*)-?(?:NaN|Infinity)')
_NULL = msgspec.Raw(b"null")
_answer_decoder = msgspec.json.Decoder(_Answer)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class AnswerReader:
    """Reads one attempt's payloads and knows when the answer is whole.

    An answer is whole when every choice seen has a terminal ``finish_reason``, or when the
    stream said ``[DONE]``; then a missing ``finish_reason`` is supplied.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._ended: set[int] = set()
        self._calling_tools: set[int] = set()
        self._said_done = False
        self._last: bytes = b"{}"

    @property
    def said_done(self) -> bool:
        """Whether the stream said it is over; what follows is not read."""
        return self._said_done

    @property
    def has_begun(self) -> bool:
        """Whether anything of an answer was read."""
        return bool(self._open)

    def read(self, payload: bytes) -> Event | None:
        """Turn a payload into an event; None for ``[DONE]``. Raises UpstreamError."""
        if payload == DONE or payload.strip() == DONE:
            self._said_done = True
            return None
        try:
            answer = decode_answer(payload)
        except UpstreamGarbage:
            payload = _without_nan(payload)
            answer = decode_answer(payload)
        pieces = tuple(map(self._piece, answer.choices)) if answer.choices else ()
        raw = self._last = payload
        for choice, piece in zip(answer.choices or (), pieces, strict=True):
            if piece.finish_reason != (choice.finish_reason or None):
                raw = _with_finish_reason(raw, piece)
        return Event(raw, pieces, _usage(answer.usage), answer.model)

    def end(self) -> Event | None:
        """Call when the upstream closed. Raises UpstreamTruncated when the answer is not whole."""
        missing = self._open - self._ended
        if (missing and not self._said_done) or not self._open:
            raise UpstreamTruncated(
                "The upstream closed its stream before the answer was finished.",
                next_step="Ask again; if it repeats, look at the upstream's log.",
            )
        return self._supplied_end(missing) if missing else None

    def _piece(self, choice: _Choice) -> ChoicePiece:
        said = choice.delta or choice.message or _NOTHING_SAID
        self._open.add(choice.index)
        if said.tool_calls:
            self._calling_tools.add(choice.index)
        reason = choice.finish_reason or None
        if reason is not None:
            self._ended.add(choice.index)
            if reason == "stop" and choice.index in self._calling_tools:
                reason = "tool_calls"
        content = said.content if isinstance(said.content, str) else _joined(said.content)
        tokens = choice.logprobs.content if choice.logprobs is not None else None
        return ChoicePiece(
            choice.index,
            content + _beside_content(said),
            content,
            reason,
            _least_logprob(tokens) if tokens else None,
            len(tokens) if tokens else 0,
            _tool_calls(said.tool_calls) if said.tool_calls else (),
        )

    def _supplied_end(self, missing: set[int]) -> Event:
        """The terminal chunk that an upstream left out before its ``[DONE]``."""
        pieces = tuple(
            ChoicePiece(i, finish_reason="tool_calls" if i in self._calling_tools else "stop")
            for i in sorted(missing)
        )
        choices: list[dict[str, object]] = [
            {"index": p.index, "delta": {}, "logprobs": None, "finish_reason": p.finish_reason}
            for p in pieces
        ]
        fields = _fields_decoder.decode(self._last)
        fields.pop("usage", None)
        return Event(spliced(fields, {"object": CHUNK, "choices": choices}), pieces)


def as_chunk(event: Event) -> Event:
    """A whole answer as the only chunk of a stream, for upstreams that do not stream."""
    fields = _fields_decoder.decode(event.raw)
    choices = _objects_decoder.decode(fields["choices"])
    for choice, piece in zip(choices, event.choices, strict=True):
        said = choice.pop("message", None) or choice.get("delta", msgspec.Raw(b"{}"))
        choice["delta"] = _with_numbered_calls(said) if piece.tool_calls else said
    replaced = {"object": CHUNK, "choices": choices}
    return msgspec.structs.replace(event, raw=spliced(fields, replaced))


def _with_numbered_calls(said: msgspec.Raw) -> msgspec.Raw:
    """In a stream each tool call has its ``index``, by which clients join its pieces."""
    fields = _fields_decoder.decode(said)
    calls = _objects_decoder.decode(fields["tool_calls"])
    numbered = [{"index": index} | call for index, call in enumerate(calls)]
    return msgspec.Raw(spliced(fields, {"tool_calls": numbered}))


def decode_answer(payload: bytes) -> _Answer:
    """Decode what decides. Raises UpstreamGarbage, or UpstreamFailed for an error object."""
    try:
        if not payload.isascii():
            payload.decode()  # msgspec does not look into what it passes over
        answer = _answer_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamGarbage(
            f"The upstream sent something that is not an OpenAI answer: {error}.",
            next_step="Check that its URL is an OpenAI-compatible API, often ending in /v1.",
        ) from error
    if answer.error is not None:
        raise UpstreamFailed(f"The upstream failed: {error_reason(payload).message}")
    return answer


class ErrorReason(msgspec.Struct):
    """What an upstream said about an error."""

    message: Any = None
    code: Any = None
    type: Any = None
    param: Any = None


def error_reason(body: bytes) -> ErrorReason:
    """Read the common shapes of error bodies: ``{"error": {...}}``, ``{"error": "..."}``,
    ``{"message": ...}``, ``{"detail": ...}`` and plain text. Never raises.
    """
    try:
        outer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorReason(body.decode(errors="replace")[:REASON_SHOWN_CHARACTERS])
    told = outer
    if isinstance(outer, dict):
        told = outer.get("error") or outer.get("detail") or outer
    if isinstance(told, dict):
        fields = {name: told.get(name) for name in ErrorReason.__struct_fields__}
        return ErrorReason(**fields | {"message": _as_text(fields["message"] or told)})
    return ErrorReason(_as_text(told))


def _as_text(told: object) -> str:
    text = told if isinstance(told, str) else msgspec.json.encode(told).decode()
    return text[:REASON_SHOWN_CHARACTERS]


def _without_nan(payload: bytes) -> bytes:
    """Some servers write log-probabilities that are no numbers as no JSON can."""
    return _NAN.sub(rb"\1null", payload)


def _joined(content: Any) -> str:
    """The texts of a list of parts; anything else has none."""
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _beside_content(said: _Said) -> str:
    """What was generated beside the answer's own text."""
    reasoning = said.reasoning_content or said.reasoning
    text = reasoning if isinstance(reasoning, str) else ""
    if isinstance(said.refusal, str):
        text += said.refusal
    for call in said.tool_calls or ():
        if call.function is not None:
            text += (call.function.name or "") + _arguments(call.function)
    return text


def _tool_calls(calls: list[_ToolCall]) -> tuple[ToolCallPiece, ...]:
    return tuple(
        ToolCallPiece(
            position if call.index is None else call.index,
            (call.function.name or "") if call.function is not None else "",
            _arguments(call.function) if call.function is not None else "",
        )
        for position, call in enumerate(calls)
    )


def _arguments(function: _Function) -> str:
    return function.arguments if isinstance(function.arguments, str) else ""


def _least_logprob(tokens: list[_TokenLogprob]) -> float:
    """The least log-probability; a token without one counts as no evidence at all."""
    if len(tokens) == 1:
        only = tokens[0].logprob
        return -math.inf if only is None else only
    return min(-math.inf if t.logprob is None else t.logprob for t in tokens)


def _usage(told: object) -> Usage | None:
    """Usage as reported; None when the upstream left the field empty or sent nonsense: no prompt
    has no tokens.
    """
    if not isinstance(told, dict) or told.get("prompt_tokens") is None:
        return None
    cached = _detail(told, "prompt_tokens_details", "cached_tokens")
    if cached is None:
        cached = told.get("prompt_cache_hit_tokens")  # DeepSeek's name
    reasoning = _detail(told, "completion_tokens_details", "reasoning_tokens")
    try:
        counts = (
            _number(told["prompt_tokens"]),
            _number(told.get("completion_tokens")),
            _number(cached),
            _number(reasoning),
        )
    except ValueError:
        return None
    is_possible = counts[0] > 0 and 0 <= min(counts) <= max(counts) <= TOKENS_AT_MOST
    return Usage(*counts) if is_possible else None


def _detail(told: dict[str, Any], group: str, name: str) -> object:
    details = told.get(group)
    return details.get(name) if isinstance(details, dict) else None


def _number(told: object) -> int:
    """A whole number as upstreams write it: absent for none, or with a fraction of zero.

    Raises ValueError.
    """
    if told is None:
        return 0
    if isinstance(told, float) and told.is_integer():
        return int(told)
    if isinstance(told, int) and not isinstance(told, bool):
        return told
    raise ValueError("expected a whole number")


def _with_finish_reason(raw: bytes, piece: ChoicePiece) -> bytes:
    """Correct one choice's finish_reason and leave everything else as it came."""
    fields = _fields_decoder.decode(raw)
    choices = _objects_decoder.decode(fields["choices"])
    for choice in choices:
        if _number(msgspec.json.decode(choice.get("index", _NULL))) == piece.index:
            choice["finish_reason"] = msgspec.Raw(msgspec.json.encode(piece.finish_reason))
    return spliced(fields, {"choices": choices})
