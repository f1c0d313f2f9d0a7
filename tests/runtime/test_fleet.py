"""The picture of the fleet: drawn from what upstreams say, true to what they said last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

import pytest

from ecluse.domain.catalog.deployments import Acceptance, Offer, Route, Stage
from ecluse.domain.errors import UpstreamUnreachable
from ecluse.domain.values.answer import Events
from ecluse.domain.values.money import PriceTerms
from ecluse.domain.values.request import Call
from ecluse.runtime.fleet import FleetKeeper, Member, Named

PRICE = PriceTerms("EUR", 1, 2, 3)


class Server:
    """An upstream that serves these models, or does not answer while ``away``."""

    def __init__(self, *models: str) -> None:
        self.models = models
        self.away = False
        self.asked = 0

    async def offers(self) -> Sequence[Offer]:
        """Its models."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise UpstreamUnreachable("It is away.")
        return tuple(Offer(model) for model in self.models)

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """Nothing."""
        for _ in ():
            yield _

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Nothing."""
        return None

    async def close(self) -> None:
        """Nothing."""


class Neighbourhood:
    """What discovery finds."""

    def __init__(self, *members: Member) -> None:
        self.members: Sequence[Member] = members
        self.broken = False

    async def __call__(self) -> Sequence[Member]:
        """Find them."""
        if self.broken:
            raise ZeroDivisionError
        return self.members


def keeper_of(
    *members: Member,
    discover: Neighbourhood | None = None,
    routes: Sequence[Route] = (),
    demonstration: Sequence[Stage] = (),
) -> FleetKeeper:
    """A keeper of these members."""
    return FleetKeeper(members, discover or Neighbourhood(), routes, demonstration)


def shown(keeper: FleetKeeper) -> dict[str, list[str]]:
    """Deployments by model; those that are not alive in brackets."""
    return {
        model: [place.name if place.alive else f"({place.name})" for place in places]
        for model, places in keeper.now().deployments.items()
    }


async def test_an_empty_fleet() -> None:
    """Before the first look, and with nobody there."""
    keeper = keeper_of()
    assert shown(keeper) == {}
    await keeper.refresh()
    assert shown(keeper) == {}
    assert keeper.now().names() == ()


async def test_the_same_model_at_two_places() -> None:
    """In the configuration's order, so that answers do not change from refresh to refresh."""
    keeper = keeper_of(Member("b", Server("m", "n")), Member("a", Server("m")))
    await keeper.refresh()
    assert shown(keeper) == {"m": ["b/m", "a/m"], "n": ["b/n"]}
    assert set(keeper.now().names()) == {"auto", "m", "n"}


async def test_names_prices_and_places_are_the_configurations() -> None:
    """The upstream's own name stays in the offer, for asking it."""
    named = {"theirs": Named("ours", PRICE)}
    keeper = keeper_of(Member("u", Server("theirs", "other"), place="cellar", named=named))
    await keeper.refresh()
    (ours,), (other,) = keeper.now().deployments.values()
    assert (ours.name, ours.model, ours.offer.upstream_model) == ("cellar/ours", "ours", "theirs")
    assert (ours.upstream, ours.place, ours.price) == ("u", "cellar", PRICE)
    assert (other.name, other.price) == ("cellar/other", None)


async def test_one_that_falls_silent_is_asked_last() -> None:
    """Our picture may be old, so it stays, behind those that answer; and comes back."""
    first, second = Server("m"), Server("m")
    keeper = keeper_of(Member("first", first), Member("second", second))
    await keeper.refresh()
    first.away = True
    before = keeper.now()
    await keeper.refresh()
    assert shown(keeper) == {"m": ["second/m", "(first/m)"]}
    assert keeper.now().silent_upstreams == ("first",)
    assert [place.alive for place in before.deployments["m"]] == [True, True], "old pictures stay"
    first.away = False
    await keeper.refresh()
    assert shown(keeper) == {"m": ["first/m", "second/m"]}
    assert keeper.now().silent_upstreams == ()


async def test_one_that_never_answered_offers_nothing() -> None:
    """It is only named as silent."""
    server = Server("m")
    server.away = True
    keeper = keeper_of(Member("u", server))
    await keeper.refresh()
    assert shown(keeper) == {}
    assert keeper.now().silent_upstreams == ("u",)


async def test_models_come_and_go() -> None:
    """An answer replaces the one before it: what is not served any more is not offered."""
    server = Server("old")
    keeper = keeper_of(Member("u", server))
    await keeper.refresh()
    server.models = ("new",)
    await keeper.refresh()
    assert shown(keeper) == {"new": ["u/new"]}


async def test_who_is_discovered_joins_and_who_leaves_is_remembered() -> None:
    """Requests that began with an older picture still find the upstream behind it."""
    found = Server("m")
    neighbourhood = Neighbourhood(Member("found", found))
    keeper = keeper_of(discover=neighbourhood)
    await keeper.refresh()
    assert shown(keeper) == {"m": ["found/m"]}
    neighbourhood.members = ()
    await keeper.refresh()
    assert shown(keeper) == {"m": ["(found/m)"]}
    assert keeper.upstream_named("found") is found
    assert list(keeper.upstreams()) == [found]
    assert found.asked == 1


async def test_a_configured_upstream_is_not_replaced_by_a_discovered_one() -> None:
    """Its key, its names and its prices are the operator's."""
    mine = Server("m")
    keeper = keeper_of(
        Member("u", mine, named={"m": Named("ours")}),
        discover=Neighbourhood(Member("u", Server("m"))),
    )
    await keeper.refresh()
    assert shown(keeper) == {"ours": ["u/ours"]}
    assert keeper.upstream_named("u") is mine


async def test_routes_are_drawn_with_the_fleet() -> None:
    """Configured ones, the demonstration while it is alone, and the largest afterwards."""
    ladder = (Stage("small", Acceptance(-0.1)), Stage("large"))
    real = Server("real")
    real.away = True
    keeper = keeper_of(
        Member("demonstration", Server("small", "large"), demonstration=True),
        Member("u", real),
        routes=(Route("mine", (Stage("real"),)),),
        demonstration=ladder,
    )
    await keeper.refresh()
    assert keeper.now().routes["auto"].stages == ladder
    assert keeper.now().routes["mine"].stages == (Stage("real"),)
    real.away = False
    await keeper.refresh()
    assert keeper.now().routes["auto"].stages == (Stage("real"),)
    assert keeper.now().routes["demo"].stages == ladder


async def test_upstreams_are_asked_side_by_side() -> None:
    """A slow one does not hold up the others' questions."""
    slow = Server("slow")
    waiting, asked = asyncio.Event(), asyncio.Event()

    class Slow(Server):
        async def offers(self) -> Sequence[Offer]:
            waiting.set()
            await asked.wait()
            return await slow.offers()

    class Quick(Server):
        async def offers(self) -> Sequence[Offer]:
            await waiting.wait()
            asked.set()
            return await super().offers()

    keeper = keeper_of(Member("slow", Slow()), Member("quick", Quick("quick")))
    async with asyncio.timeout(2):
        await keeper.refresh()
    assert shown(keeper) == {"slow": ["slow/slow"], "quick": ["quick/quick"]}


async def test_trouble_is_outlived(caplog: pytest.LogCaptureFixture) -> None:
    """A discovery that breaks is logged; the next look is taken all the same."""
    neighbourhood = Neighbourhood(Member("found", Server("m")))
    neighbourhood.broken = True
    keeper = keeper_of(discover=neighbourhood)
    with caplog.at_level(logging.ERROR):
        running = asyncio.create_task(keeper.run(0.005))
        async with asyncio.timeout(2):
            await keeper.first_look.wait()
            assert shown(keeper) == {}
            neighbourhood.broken = False
            while not shown(keeper):  # noqa: ASYNC110 (the keeper tells nobody)
                await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait((running,))
    assert "could not be refreshed" in caplog.text
    assert shown(keeper) == {"m": ["found/m"]}
