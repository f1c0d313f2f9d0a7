"""Going on with an answer that broke off: no gap, no repeat, one end, the right usage. Pure.

The deployment that goes on is given the answer up to its last white space, and what it says again
from there is compared and dropped. So a token that was cut by the failure, or that the new
tokenizer would cut elsewhere, is chosen anew as a whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ecluse.domain.catalog.deployments import Continuation
from ecluse.domain.values.answer import ChoicePiece, Event, Events
from ecluse.domain.values.request import ChatRequest, spliced
from ecluse.domain.values.usage import Usage

SAID_AGAIN_CHARACTERS_AT_MOST = 64
"""A longer word, as in scripts without spaces, is not said again: the text is then gone on with
exactly where it ended.
"""

LIMITS = ("max_tokens", "max_completion_tokens")
IDENTITY = ("id", "created")
"""What is the same in every chunk of one answer."""

_messages_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_FALSE, _TRUE, _NULL = msgspec.Raw(b"false"), msgspec.Raw(b"true"), msgspec.Raw(b"null")


class _Begun(msgspec.Struct):
    """A message that may be the beginning of the answer."""

    role: str
    content: Any = None


class Diverged(Exception):
    """What was said again is not what had been said."""


class Delivered:
    """What of one answer the client has already been told; filled in as it is."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._beside_content = False
        self._choices = 0
        self._finished = False
        self._head: Event | None = None

    @property
    def is_begun(self) -> bool:
        """Whether anything was generated that the client has."""
        return bool(self._content) or self._beside_content

    @property
    def is_opened(self) -> bool:
        """Whether the client has a chunk of the answer, be it only the role."""
        return self._choices > 0

    @property
    def is_finished(self) -> bool:
        """Whether the client has the end of the only choice."""
        return self._finished and self._choices == 1

    @property
    def content(self) -> str:
        """The answer's text so far."""
        return "".join(self._content)

    @property
    def head(self) -> Event | None:
        """The first event, whose id and date the whole answer has."""
        return self._head

    def add(self, events: Events) -> None:
        """Take note of what was told."""
        if self._head is None:
            self._head = events[0]
        for event in events:
            for piece in event.choices:
                if piece.content:
                    self._content.append(piece.content)
                if len(piece.text) != len(piece.content):
                    self._beside_content = True
                if piece.index >= self._choices:
                    self._choices = piece.index + 1
                if piece.finish_reason is not None:
                    self._finished = True

    def can_be_continued(self, request: ChatRequest) -> bool:
        """Whether it stopped at a safe point: in the plain text of a single streamed answer.

        Within a tool call, reasoning or an answer bound to a schema nobody else could go on.
        """
        return (
            request.stream
            and request.choices == 1
            and self._choices <= 1
            and not self._beside_content
            and not request.format.wants_json
        )


class Resumption(msgspec.Struct, frozen=True):
    """Where to go on: ``prefix`` is what the next deployment is given, of ``prefix_tokens``
    tokens; ``again`` follows in the client's text and is expected to be said again.
    """

    prefix: str
    again: str
    prefix_tokens: int = 0

    def of_tokens(self, tokens: int) -> Resumption:
        """The same place, with its tokens counted."""
        return Resumption(self.prefix, self.again, tokens)


def resumption(content: str, *, exactly: bool) -> Resumption:
    """Cut a text before its last white space, all of it, or ``exactly`` at its end."""
    cut = len(content)
    if not exactly:
        kept = content.rstrip()
        if kept and len(kept) == cut:
            kept = kept.removesuffix(kept.rsplit(None, 1)[-1]).rstrip()
        if kept and cut - len(kept) <= SAID_AGAIN_CHARACTERS_AT_MOST:
            cut = len(kept)
    return Resumption(content[:cut], content[cut:])


def fields_to_continue(
    request: ChatRequest, how: Continuation, at: Resumption
) -> dict[str, object]:
    """The members of a request's body that change so that it goes on from ``at``."""
    messages, message = _with_prefix(request, at.prefix)
    changes: dict[str, object] = {}
    if how == "prefix":
        message["prefix"] = True
    if how == "continue_final_message":
        changes |= {"continue_final_message": _TRUE, "add_generation_prompt": _FALSE}
    changes["messages"] = [*messages, message]
    if request.answer_limit_tokens is not None:
        left = max(1, request.answer_limit_tokens - at.prefix_tokens)
        changes |= {name: left for name in LIMITS if request.fields.get(name, _NULL) != _NULL}
    return changes


def _with_prefix(request: ChatRequest, prefix: str) -> tuple[list[msgspec.Raw], dict[str, object]]:
    """The messages, and the one to go on from: a client may have begun the answer itself."""
    messages = _messages_decoder.decode(request.fields["messages"])
    last: dict[str, object] = dict(_fields_decoder.decode(messages[-1]))
    begun = msgspec.json.decode(messages[-1], type=_Begun)
    if begun.role != "assistant" or not isinstance(begun.content, str):
        return messages, {"role": "assistant", "content": prefix}
    return messages[:-1], last | {"content": begun.content + prefix}


class Stitch:
    """Turns the events of a deployment that goes on into those of the one answer."""

    def __init__(self, delivered: Delivered, at: Resumption) -> None:
        self._again = at.again
        self._prefix_tokens = at.prefix_tokens
        self._is_opened = delivered.is_opened
        self._is_ended = False
        fields = _fields_decoder.decode(delivered.head.raw) if delivered.head else {}
        self._identity: dict[str, object] = {
            name: fields[name] for name in IDENTITY if name in fields
        }

    def join(self, events: Events) -> Events:
        """The events as the client may see them; raises Diverged where they do not fit."""
        joined = map(self._joined, events)
        return tuple(event for event in joined if event is not None)

    def _joined(self, event: Event) -> Event | None:
        changes = dict(self._identity)
        usage = None if event.usage is None else self._whole_usage(event.usage)
        if usage is not None:
            changes["usage"] = _usage_fields(event, usage)
        if not event.choices or not self._is_opened:
            return msgspec.structs.replace(event, raw=_changed(event, changes), usage=usage)
        pieces = tuple(map(self._without_repeat, event.choices))
        if all(not p.text and p.finish_reason is None for p in pieces):
            if usage is None or not self._is_ended:
                return None  # usage on the way to the end is told again there
            pieces = ()
        self._is_ended = self._is_ended or any(p.finish_reason is not None for p in pieces)
        changes["choices"] = _choices(event, pieces)
        return Event(_changed(event, changes), pieces, usage, event.model)

    def _without_repeat(self, piece: ChoicePiece) -> ChoicePiece:
        """Drop what the client has already; Diverged if it has something else there."""
        if not self._again:
            return piece
        content = piece.content
        shared = min(len(content), len(self._again))
        if content[:shared] != self._again[:shared] or piece.tool_calls:
            raise Diverged
        self._again = self._again[shared:]
        if self._again and piece.finish_reason is not None:
            raise Diverged
        text = piece.text.replace(content, content[shared:], 1) if content else piece.text
        return msgspec.structs.replace(piece, text=text, content=content[shared:])

    def _whole_usage(self, usage: Usage) -> Usage:
        """The usage of the answer as if one deployment had given it: what was given to go on from
        is no prompt, but a part of the answer.
        """
        prompt = max(1, usage.prompt_tokens - self._prefix_tokens)
        return msgspec.structs.replace(
            usage,
            prompt_tokens=prompt,
            completion_tokens=usage.completion_tokens + self._prefix_tokens,
            cached_tokens=min(usage.cached_tokens, prompt),
        )


def _usage_fields(event: Event, usage: Usage) -> dict[str, object]:
    fields: dict[str, object] = dict(
        _fields_decoder.decode(_fields_decoder.decode(event.raw)["usage"])
    )
    if "prompt_tokens_details" in fields:
        fields["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return fields | {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _choices(event: Event, pieces: tuple[ChoicePiece, ...]) -> list[dict[str, object]]:
    if not pieces:
        return []
    shown: list[dict[str, object]] = []
    raws = _objects_decoder.decode(_fields_decoder.decode(event.raw)["choices"])
    for raw, before, piece in zip(raws, event.choices, pieces, strict=True):
        choice: dict[str, object] = dict(raw)
        told = raw.get("delta", _NULL)
        delta: dict[str, object] = {} if told == _NULL else dict(_fields_decoder.decode(told))
        delta.pop("role", None)  # that was told at the beginning
        if piece.content != before.content:
            delta["content"] = piece.content
            # The probabilities belong to a token of which the client has a part.
            choice.pop("logprobs", None)
        shown.append(choice | {"delta": delta})
    return shown


def _changed(event: Event, changes: dict[str, object]) -> bytes:
    return spliced(_fields_decoder.decode(event.raw), changes)
