"""The picture of the fleet: drawn from what upstreams say, true to what they said last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

import pytest

from ecluse.domain.catalog.deployments import Acceptance, Offer, Route, Stage
from ecluse.domain.errors import EcluseError, UpstreamGarbage, UpstreamRefused, UpstreamUnreachable
from ecluse.domain.values.answer import Events
from ecluse.domain.values.money import PriceTerms
from ecluse.domain.values.request import Call
from ecluse.runtime.fleet import FleetKeeper
from ecluse.runtime.members import Member, Named

PRICE = PriceTerms("EUR", 1, 2, 3)


class Server:
    """An upstream that serves these models, or raises ``failure``; while ``away`` it is gone."""

    def __init__(self, *models: str, failure: EcluseError | None = None) -> None:
        self.models = models
        self.failure = failure
        self.asked = 0

    @property
    def away(self) -> bool:
        """Whether it cannot be reached."""
        return self.failure is not None

    @away.setter
    def away(self, away: bool) -> None:
        self.failure = UpstreamUnreachable("It is away.") if away else None

    async def offers(self) -> Sequence[Offer]:
        """Its models."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
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

    async def __call__(self) -> AsyncGenerator[Member, None]:
        """Find them."""
        if self.broken:
            raise ZeroDivisionError
        for member in self.members:
            yield member


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
    """The upstream's own name stays in the offer, for asking it; its other models do not show."""
    models = (Named("ours", Offer("theirs"), PRICE),)
    keeper = keeper_of(Member("u", Server("theirs", "other"), place="cellar", models=models))
    await keeper.refresh()
    ((ours,),) = keeper.now().deployments.values()
    assert (ours.name, ours.model, ours.offer.upstream_model) == ("cellar/ours", "ours", "theirs")
    assert (ours.upstream, ours.place, ours.price) == ("u", "cellar", PRICE)


async def test_one_model_of_an_upstream_may_have_several_names() -> None:
    """Each has its own price."""
    models = (Named("short", Offer("theirs"), PRICE), Named("long", Offer("theirs")))
    keeper = keeper_of(Member("u", Server("theirs"), models=models))
    await keeper.refresh()
    (short,), (long,) = keeper.now().deployments.values()
    assert (short.model, short.price, short.offer.upstream_model) == ("short", PRICE, "theirs")
    assert (long.model, long.price, long.offer.upstream_model) == ("long", None, "theirs")


async def test_configured_facts_stand_over_what_the_upstream_says() -> None:
    """What is left unset is the upstream's to say; what it does not list is offered as well."""

    class Telling(Server):
        async def offers(self) -> Sequence[Offer]:
            return (Offer("m", context_tokens=8, accepts_images=True, parameters=7),)

    models = (Named("m", Offer("m", context_tokens=4)), Named("n", Offer("unlisted")))
    keeper = keeper_of(Member("u", Telling(), models=models))
    await keeper.refresh()
    (m,), (n,) = keeper.now().deployments.values()
    assert m.offer == Offer("m", context_tokens=4, accepts_images=True, parameters=7)
    assert n.offer == Offer("unlisted")


@pytest.mark.parametrize(
    ("failure", "alive"),
    [
        (UpstreamRefused("There is no such path.", upstream_status=404), True),
        (UpstreamRefused("Not with this key.", upstream_status=403), True),
        (UpstreamRefused("The key is wrong.", upstream_status=401), False),
        (UpstreamGarbage("<html>"), False),
        (UpstreamUnreachable("It is away."), False),
    ],
)
async def test_a_configured_model_is_as_alive_as_its_upstream(
    failure: EcluseError, alive: bool
) -> None:
    """It is offered before the first answer, asked last; an upstream need not list its models."""
    server = Server("m", failure=failure)
    keeper = keeper_of(Member("u", server, models=(Named("m", Offer("m")),)))
    assert shown(keeper) == {"m": ["(u/m)"]}
    assert not keeper.now().is_alive
    assert keeper.now().silent_upstreams == (), "nobody knows yet"
    await keeper.refresh()
    assert shown(keeper) == {"m": ["u/m"] if alive else ["(u/m)"]}
    assert keeper.now().is_alive == alive
    assert keeper.now().silent_upstreams == (() if alive else ("u",))


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
        Member("u", mine, models=(Named("ours", Offer("m")),)),
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


class Held(Server):
    """One that takes as long to answer as the test wants."""

    def __init__(self, *models: str) -> None:
        super().__init__(*models)
        self.may_answer = asyncio.Event()

    async def offers(self) -> Sequence[Offer]:
        """Its models, in the end."""
        await self.may_answer.wait()
        return await super().offers()


async def until_shown(keeper: FleetKeeper, expected: dict[str, list[str]]) -> None:
    """Wait until the picture is so."""
    async with asyncio.timeout(2):
        while shown(keeper) != expected:  # noqa: ASYNC110 (the keeper tells nobody)
            await asyncio.sleep(0)


async def test_nobody_waits_for_the_slowest() -> None:
    """Each is in the picture once it answered, though others and discovery have not ended."""
    slow, looking = Held("slow"), asyncio.Event()

    async def discover() -> AsyncGenerator[Member, None]:
        yield Member("found", Server("found"))
        await looking.wait()

    members = (Member("slow", slow), Member("quick", Server("quick")))
    keeper = FleetKeeper(members, discover, (), ())
    refresh = asyncio.create_task(keeper.refresh())
    quick = {"quick": ["quick/quick"], "found": ["found/found"]}
    await until_shown(keeper, quick)
    assert keeper.now().silent_upstreams == (), "it may yet answer"
    slow.may_answer.set()
    await until_shown(keeper, {"slow": ["slow/slow"]} | quick)
    looking.set()
    await refresh


async def test_a_new_keeper_begins_with_what_the_old_one_knew() -> None:
    """Of the members that are the same: a reload forgets nobody who is slow to answer again."""
    old = keeper_of(
        Member("same", Server("a"), origin="http://a"),
        Member("moved", Server("b"), origin="http://b"),
        Member("nameless", Server("c")),
    )
    await old.refresh()
    slow = [Held("a"), Held("b"), Held("c")]
    new = keeper_of(
        Member("same", slow[0], origin="http://a"),
        Member("moved", slow[1], origin="http://elsewhere"),
        Member("nameless", slow[2]),
        Member("new", Held("d"), origin="http://d"),
    )
    new.continue_from(old)
    assert shown(new) == {"a": ["same/a"]}
    assert new.upstream_named("same") is slow[0]


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
