"""The plan of a request: filter what cannot answer, order what can. Pure.

This is the first rule: a route's stages in their order, a model's deployments alive ones first.
A stage whose answers would be outdone for want of evidence is not asked at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from ecluse.domain.catalog.deployments import Acceptance, Deployment, Fleet, Offer, Route, Stage
from ecluse.domain.errors import (
    ContextExceeded,
    InvalidRequest,
    NothingAlive,
    RouteForbidden,
    UnknownRoute,
)
from ecluse.domain.routing.calls import may_show_logprobs
from ecluse.domain.values.account import Account
from ecluse.domain.values.request import ChatRequest

NEAR_NAMES = 3
RETRY_NOTHING_ALIVE_S = 10


class PlannedStage(msgspec.Struct, frozen=True):
    """One model of the plan with the deployments that may be asked, in order."""

    model: str
    deployments: tuple[Deployment, ...]
    acceptance: Acceptance


class Plan(msgspec.Struct, frozen=True):
    """Ordered stages for one request; the last one's answer is always accepted."""

    route: str
    stages: tuple[PlannedStage, ...]


def plan(request: ChatRequest, account: Account, fleet: Fleet) -> Plan:
    """Choose the stages for a request.

    Raises RouteForbidden, UnknownRoute, ContextExceeded, InvalidRequest or NothingAlive, each
    before any deployment was asked.
    """
    route = _route(request.route, account, fleet)
    stages = []
    excluded: list[Exclusion] = []
    for stage in route.stages:
        able = []
        for deployment in fleet.deployments.get(stage.model, ()):
            reason = exclusion(request, deployment.offer)
            if reason is None:
                able.append(deployment)
            else:
                excluded.append(reason)
        if able:
            stages.append(PlannedStage(stage.model, tuple(able), stage.acceptance))
    if not stages:
        raise _nothing_left(request, route, excluded, fleet)
    last = msgspec.structs.replace(stages[-1], acceptance=Acceptance())
    worth_asking = filter(None, (_that_can_convince(request, stage) for stage in stages[:-1]))
    return Plan(route.name, (*worth_asking, last))


def _that_can_convince(request: ChatRequest, stage: PlannedStage) -> PlannedStage | None:
    """The stage with those deployments whose answer may be accepted; None where there are none."""
    if not stage.acceptance.judges or stage.acceptance.without_logprobs == "accept":
        return stage
    showing = tuple(d for d in stage.deployments if may_show_logprobs(request, d.offer))
    return msgspec.structs.replace(stage, deployments=showing) if showing else None


class Exclusion(msgspec.Struct, frozen=True):
    """Why a deployment cannot answer: its context is too short, or it takes no images."""

    context_tokens: int | None = None
    no_images: bool = False


def exclusion(request: ChatRequest, offer: Offer) -> Exclusion | None:
    """Return why the deployment cannot answer, None where it may."""
    if request.has_images and offer.accepts_images is False:
        return Exclusion(no_images=True)
    context = offer.context_tokens
    if context is not None and _too_long(request, context, offer.longest_token_bytes):
        return Exclusion(context_tokens=context)
    return None


def _too_long(request: ChatRequest, context_tokens: int, longest_token_bytes: int | None) -> bool:
    """Whether even the fewest tokens that the prompt can be do not fit.

    With a known vocabulary no token is longer than its longest entry. Else a token never spans
    two words (byte-pair pre-tokenizers and SentencePiece split at white space).
    """
    prompt_bytes = request.prompt_bytes
    if prompt_bytes < context_tokens:
        return False
    if longest_token_bytes is not None and prompt_bytes // longest_token_bytes >= context_tokens:
        return True
    return request.prompt_words >= context_tokens


def _route(name: str, account: Account, fleet: Fleet) -> Route:
    route = fleet.routes.get(name)
    if route is None and name in fleet.deployments:
        route = Route(name, (Stage(name),))
    if route is None:
        if not fleet.deployments:
            raise _nothing_alive(name, (name,), fleet)
        raise unknown_route(name, account, fleet)
    if not account.may_use(name):
        raise RouteForbidden(
            f"The key {account.name!r} may not use the model {name!r}.",
            next_step=_may_use(account),
            param="model",
        )
    return route


def _may_use(account: Account) -> str:
    allowed = ", ".join(sorted(account.routes or ()))
    return f"It may use: {allowed}. Ask for a key with a wider scope."


def unknown_route(name: str, account: Account, fleet: Fleet) -> UnknownRoute:
    """The error for a name that nothing here has, with the near ones that the key may use."""
    names = [known for known in fleet.names() if account.may_use(known)]
    near = difflib.get_close_matches(name[:200], names, NEAR_NAMES, cutoff=0.5)
    if near:
        step = f"Did you mean {' or '.join(near)}?"
    elif names:
        step = f"There is: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}."
    else:
        step = "This key may use none of the models here; ask for a wider scope."
    if fleet.silent_upstreams:
        step += f" Not reachable now: {', '.join(fleet.silent_upstreams)}."
    return UnknownRoute(f"There is no model {name[:200]!r} here.", next_step=step, param="model")


def _nothing_left(
    request: ChatRequest, route: Route, excluded: list[Exclusion], fleet: Fleet
) -> ContextExceeded | InvalidRequest | NothingAlive:
    contexts = [e.context_tokens for e in excluded if e.context_tokens is not None]
    if contexts:
        return ContextExceeded(
            f"The prompt is longer than the largest context of {request.route!r}: "
            f"{max(contexts)} tokens.",
            next_step="Shorten the messages or name a model with a larger context.",
            param="messages",
        )
    if excluded:
        return InvalidRequest(
            f"No deployment of {request.route!r} takes images.",
            next_step="Leave the images out or name a model that sees.",
            param="messages",
        )
    return _nothing_alive(route.name, [stage.model for stage in route.stages], fleet)


def _nothing_alive(name: str, models: Iterable[str], fleet: Fleet) -> NothingAlive:
    step = "`ecluse doctor` tells what is missing."
    if fleet.silent_upstreams:
        step = f"Not reachable: {', '.join(fleet.silent_upstreams)}. {step}"
    absent = ", ".join(repr(model) for model in models if model != name)
    return NothingAlive(
        f"Nothing can answer for {name[:200]!r} now"
        f"{f': nobody serves {absent}' if absent else ''}.",
        next_step=step,
        retry_after_s=RETRY_NOTHING_ALIVE_S,
    )
