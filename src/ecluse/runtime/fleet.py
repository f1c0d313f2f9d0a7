"""Keeps the picture of what can be asked up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

from ecluse.domain.catalog.deployments import Deployment, Fleet, Route, Stage
from ecluse.domain.errors import EcluseError, UpstreamRefused
from ecluse.domain.routing.default_routes import routes
from ecluse.ports import Upstream
from ecluse.runtime.members import Member, Said, deployments

logger = logging.getLogger(__name__)

NOTHING_SAID = Said()
KEY_REFUSED = 401


class FleetKeeper:
    """Asks every upstream what it serves, again and again, and answers ``now`` at once.

    ``discover`` finds upstreams nobody configured. The picture is drawn anew with each answer, so
    nobody waits for the slowest. An upstream that does not answer any more keeps the deployments
    it last offered, marked as not alive, so that they are asked last.
    """

    def __init__(
        self,
        members: Sequence[Member],
        discover: Callable[[], AsyncGenerator[Member, None]],
        configured_routes: Sequence[Route],
        demonstration: Sequence[Stage],
    ) -> None:
        self._configured = {member.name: member for member in members}
        self._members = dict(self._configured)
        self._discover = discover
        self._discovered: set[str] = set()
        self._configured_routes = configured_routes
        self._demonstration = demonstration
        self._said: dict[str, Said] = {}
        self.first_look = asyncio.Event()
        self._draw()

    def now(self) -> Fleet:
        """The latest picture."""
        return self._fleet

    def upstream_named(self, name: str) -> Upstream:
        """The upstream behind a deployment of any picture given so far."""
        return self._members[name].upstream

    def upstreams(self) -> Iterable[Upstream]:
        """Every upstream of any picture given so far."""
        return (member.upstream for member in self._members.values())

    def continue_from(self, before: FleetKeeper) -> None:
        """Begin with what another keeper was told by the members that are the same here."""
        for name, member in self._configured.items():
            known = before._members.get(name)
            if known is None or known.origin is None or known.origin != member.origin:
                continue
            if name in before._said:
                self._said[name] = before._said[name]
        self._draw()

    async def refresh(self) -> None:
        """Ask everybody once, and look around meanwhile; trouble is logged and outlived."""
        ended = await asyncio.gather(
            self._look_around(),
            *map(self._ask, self._configured.values()),
            return_exceptions=True,
        )
        for trouble in ended:
            if isinstance(trouble, Exception):
                logger.error("the fleet could not be refreshed", exc_info=trouble)

    async def run(self, every_s: float) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            self.first_look.set()
            await asyncio.sleep(every_s)

    async def _look_around(self) -> None:
        found: set[str] = set()
        async with aclosing(self._discover()) as discovery:
            async for member in discovery:
                if member.name not in self._configured:
                    found.add(member.name)
                    self._members[member.name] = member
                    await self._ask(member)
        for name in self._discovered - found:
            self._note(name, Said(self._said[name].offers, alive=False))
        self._discovered = found

    async def _ask(self, member: Member) -> None:
        try:
            said = Said(await member.upstream.offers(), alive=True)
        except EcluseError as error:
            logger.debug("%s does not say what it serves: %s", member.name, error)
            before = self._said.get(member.name, NOTHING_SAID)
            said = Said(before.offers, alive=bool(member.models) and _only_lists_nothing(error))
        self._note(member.name, said)

    def _note(self, name: str, said: Said) -> None:
        if self._said.get(name) != said:
            self._said[name] = said
            self._draw()

    def _draw(self) -> None:
        places: dict[str, list[Deployment]] = {}
        for member in sorted(self._members.values(), key=self._rank):
            for deployment in deployments(member, self._said.get(member.name, NOTHING_SAID)):
                places.setdefault(deployment.model, []).append(deployment)
        drawn = {model: tuple(found) for model, found in places.items()}
        all_routes = routes(self._configured_routes, self._demonstration, drawn)
        silent = tuple(n for n in self._members if n in self._said and not self._said[n].alive)
        self._fleet = Fleet(drawn, all_routes, silent)

    def _rank(self, member: Member) -> tuple[bool, str]:
        """Who is asked first: who answers; then as configured, before what was discovered."""
        alive = self._said.get(member.name, NOTHING_SAID).alive
        return not alive, "" if member.name in self._configured else member.name


def _only_lists_nothing(error: EcluseError) -> bool:
    """Whether an upstream is there all the same; some do not list their models to everybody."""
    return isinstance(error, UpstreamRefused) and error.upstream_status != KEY_REFUSED
