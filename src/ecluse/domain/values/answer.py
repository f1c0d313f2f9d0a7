"""What an attempt yields: events, each a piece of an answer with the facts that decide."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ecluse.domain.values.usage import Usage


class ToolCallPiece(msgspec.Struct, frozen=True):
    """A share of one tool call; pieces of the same ``index`` belong together, in their order."""

    index: int
    name: str = ""
    arguments: str = ""


class ChoicePiece(msgspec.Struct, frozen=True):
    """One choice's share of an event.

    ``text`` joins content, reasoning and tool-call arguments: it is what was generated, for
    counting. ``content`` is the part of it that is the answer's own text. ``least_logprob`` is
    the smallest log-probability (natural logarithm) of the piece's ``tokens`` tokens, minus
    infinity where one of them has none, None where the upstream told of no tokens at all.
    """

    index: int
    text: str = ""
    content: str = ""
    finish_reason: str | None = None
    least_logprob: float | None = None
    tokens: int = 0
    tool_calls: tuple[ToolCallPiece, ...] = ()


class Event(msgspec.Struct, frozen=True):
    """A piece of an answer as it came: a stream's chunk, or the whole of an answer at once.

    ``raw`` is the JSON object the upstream sent; ``model`` the name it gave itself there.
    """

    raw: bytes
    choices: tuple[ChoicePiece, ...] = ()
    usage: Usage | None = None
    model: str | None = None


Events = tuple[Event, ...]
"""The events that arrived together; never empty."""


class Outcome(StrEnum):
    """How an attempt ended."""

    ANSWERED = "answered"
    """Its answer went to the client."""
    OUTDONE = "outdone"
    """It answered, but the evidence was too weak and a larger model was asked."""
    OUTRUN = "outrun"
    """A hedge: another attempt at the same request answered sooner."""
    FAILED = "failed"
    """The upstream failed or broke off."""
    ABANDONED = "abandoned"
    """The client left before the end."""


class Progress(msgspec.Struct, frozen=True):
    """Events that are the client's from now on, and what answers them.

    ``model`` is the accepted model's name, ``attempts`` how many were made so far,
    ``strip_logprobs`` whether the client never asked for the log-probabilities in the events.
    """

    events: Events
    model: str
    attempts: int
    strip_logprobs: bool = False
