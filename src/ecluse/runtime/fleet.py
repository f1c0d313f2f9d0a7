"""Keeps the picture of what can be asked up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from ecluse.domain.catalog.deployments import Deployment, Fleet, Offer, Patience, Route, Stage
from ecluse.domain.errors import EcluseError
from ecluse.domain.routing.default_routes import routes
from ecluse.domain.values.money import PriceTerms
from ecluse.ports import Upstream

logger = logging.getLogger(__name__)


class Named(msgspec.Struct, frozen=True):
    """What the configuration says of one model of an upstream: our name for it, and its price."""

    model: str
    price: PriceTerms | None = None


class Member(msgspec.Struct, frozen=True):
    """An upstream of the fleet; ``name`` is unique, ``place`` is what people are shown.

    ``named`` maps the upstream's model names to ours.
    """

    name: str
    upstream: Upstream
    place: str = ""
    named: Mapping[str, Named] = {}
    demonstration: bool = False
    patience: Patience = Patience()


class FleetKeeper:
    """Asks every upstream what it serves, again and again, and answers ``now`` at once.

    ``discover`` finds upstreams nobody configured. An upstream that does not answer any more
    keeps the deployments it last offered, marked as not alive, so that they are asked last.
    """

    def __init__(
        self,
        members: Sequence[Member],
        discover: Callable[[], Awaitable[Sequence[Member]]],
        configured_routes: Sequence[Route],
        demonstration: Sequence[Stage],
    ) -> None:
        self._configured = {member.name: member for member in members}
        self._members = dict(self._configured)
        self._discover = discover
        self._configured_routes = configured_routes
        self._demonstration = demonstration
        self._offers: dict[str, Sequence[Offer]] = {}
        self._fleet = Fleet({}, {})
        self.first_look = asyncio.Event()

    def now(self) -> Fleet:
        """The latest picture."""
        return self._fleet

    def upstream_named(self, name: str) -> Upstream:
        """The upstream behind a deployment of any picture given so far."""
        return self._members[name].upstream

    def upstreams(self) -> Iterable[Upstream]:
        """Every upstream of any picture given so far."""
        return (member.upstream for member in self._members.values())

    async def refresh(self) -> None:
        """Ask everybody once and draw the picture anew."""
        discovered = {m.name: m for m in await self._discover() if m.name not in self._configured}
        self._members.update(discovered)
        present = self._configured | discovered
        answered = await asyncio.gather(*map(self._ask, present.values()))
        alive = {name for name, answers in zip(present, answered, strict=True) if answers}
        self._draw(alive)

    async def run(self, every_s: float) -> None:
        """Refresh for ever; trouble is logged and outlived."""
        while True:
            try:
                await self.refresh()
            except Exception:
                logger.exception("the fleet could not be refreshed")
            self.first_look.set()
            await asyncio.sleep(every_s)

    async def _ask(self, member: Member) -> bool:
        try:
            self._offers[member.name] = await member.upstream.offers()
        except EcluseError as error:
            logger.debug("%s does not answer: %s", member.name, error)
            return False
        return True

    def _draw(self, alive: set[str]) -> None:
        places: dict[str, list[Deployment]] = {}
        for member in sorted(self._members.values(), key=lambda member: member.name not in alive):
            for offer in self._offers.get(member.name, ()):
                deployment = _deployment(member, offer, member.name in alive)
                places.setdefault(deployment.model, []).append(deployment)
        deployments = {model: tuple(found) for model, found in places.items()}
        all_routes = routes(self._configured_routes, self._demonstration, deployments)
        silent = tuple(name for name in self._members if name not in alive)
        self._fleet = Fleet(deployments, all_routes, silent)


def _deployment(member: Member, offer: Offer, alive: bool) -> Deployment:
    named = member.named.get(offer.upstream_model, Named(offer.upstream_model))
    return Deployment(
        name=f"{member.place or member.name}/{named.model}",
        model=named.model,
        upstream=member.name,
        place=member.place or member.name,
        offer=offer,
        price=named.price,
        demonstration=member.demonstration,
        alive=alive,
        patience=member.patience,
    )
