"""Deployments: a model served by an upstream, with the facts that decide who may be asked."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import asdict, replace

from ecluse.domain.values.money import PriceTerms

Continuation = Literal["prefill", "continue_final_message", "prefix"]
"""How an upstream is told to go on with a text that ends in an unfinished answer.

``prefill``: the answer's beginning is the last message (llama.cpp). ``continue_final_message``:
that, and two fields say so (vLLM). ``prefix``: that, and the message says so (Mistral, DeepSeek).
"""


class Offer(msgspec.Struct, frozen=True):
    """What an upstream says of one model it serves.

    ``context_tokens`` counts prompt and answer together. ``longest_token_bytes`` is the longest
    entry of the tokenizer's vocabulary. None means unknown. ``accepts_images`` None means unknown.
    ``continuation`` is how it goes on with an answer that another began, None where it cannot.
    ``logprobs_in_tool_streams`` is False where log-probabilities cannot be asked for in a stream
    with tools (llama.cpp refuses that).
    """

    upstream_model: str
    context_tokens: int | None = None
    longest_token_bytes: int | None = None
    accepts_images: bool | None = None
    gives_logprobs: bool | None = None
    parameters: int | None = None
    continuation: Continuation | None = None
    logprobs_in_tool_streams: bool | None = None

    def overlaid(self, facts: Offer) -> Offer:
        """The same with other facts in place of its own, where those are known."""
        known = {name: fact for name, fact in asdict(facts).items() if fact is not None}
        return replace(self, **known)


class Patience(msgspec.Struct, frozen=True):
    """How long an attempt may take to show signs of life, in seconds; never how long in all.

    ``first_token_s`` is the longest wait for a stream's first token, ``between_tokens_s`` for each
    further one, ``whole_answer_s`` for an answer that is not streamed.
    """

    first_token_s: float = 120.0
    between_tokens_s: float = 60.0
    whole_answer_s: float = 600.0


class Deployment(msgspec.Struct, frozen=True):
    """A model at an upstream. ``name`` is unique and reads ``place/model``."""

    name: str
    model: str
    upstream: str
    place: str
    offer: Offer
    price: PriceTerms | None = None
    demonstration: bool = False
    alive: bool = True
    patience: Patience = Patience()

    @property
    def can_continue(self) -> bool:
        """Whether it can go on with an answer that another deployment began."""
        return self.offer.continuation is not None


class Acceptance(msgspec.Struct, frozen=True):
    """When a stage's answer is good enough.

    ``least_logprob`` is the threshold for the least token log-probability of the answer (natural
    logarithm); None judges no answer. A stream is committed early once ``commit_after_tokens``
    tokens were all at least that sure; None holds it to its end. ``without_logprobs`` says what
    becomes of an answer that shows none: ``rise``, or ``accept`` if it is otherwise well-formed.
    """

    least_logprob: float | None = None
    commit_after_tokens: int | None = None
    without_logprobs: Literal["rise", "accept"] = "rise"

    @property
    def judges(self) -> bool:
        """Whether an answer can be found wanting."""
        return self.least_logprob is not None


class Stage(msgspec.Struct, frozen=True):
    """A step of a route: a model and the rule that accepts its answer."""

    model: str
    acceptance: Acceptance = Acceptance()


class Route(msgspec.Struct, frozen=True):
    """What a client names in ``model``: ordered stages, the least model first."""

    name: str
    stages: tuple[Stage, ...]


class Fleet(msgspec.Struct, frozen=True):
    """What can be asked at one moment.

    ``deployments`` by model name, alive ones first; ``routes`` by name; ``silent_upstreams`` are
    those that did not answer when asked what they serve.
    """

    deployments: dict[str, tuple[Deployment, ...]]
    routes: dict[str, Route]
    silent_upstreams: tuple[str, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Whether any deployment answers."""
        return any(place.alive for places in self.deployments.values() for place in places)

    def names(self) -> tuple[str, ...]:
        """Everything a client may name, policies first."""
        return (*self.routes, *(name for name in self.deployments if name not in self.routes))
