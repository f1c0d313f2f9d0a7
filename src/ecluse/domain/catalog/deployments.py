"""Deployments: a model served by an upstream, with the facts that decide who may be asked."""

from __future__ import annotations

import msgspec
from msgspec.structs import asdict, replace

from ecluse.domain.values.money import PriceTerms


class Offer(msgspec.Struct, frozen=True):
    """What an upstream says of one model it serves.

    ``context_tokens`` counts prompt and answer together. ``longest_token_bytes`` is the longest
    entry of the tokenizer's vocabulary. None means unknown. ``accepts_images`` None means unknown.
    """

    upstream_model: str
    context_tokens: int | None = None
    longest_token_bytes: int | None = None
    accepts_images: bool | None = None
    gives_logprobs: bool | None = None
    parameters: int | None = None

    def overlaid(self, facts: Offer) -> Offer:
        """The same with other facts in place of its own, where those are known."""
        known = {name: fact for name, fact in asdict(facts).items() if fact is not None}
        return replace(self, **known)


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


class Acceptance(msgspec.Struct, frozen=True):
    """When a stage's answer is good enough.

    ``least_logprob`` is the threshold for the least token log-probability of the answer (natural
    logarithm); None accepts any answer that ended properly.
    """

    least_logprob: float | None = None


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
