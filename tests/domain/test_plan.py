"""The plan of a request: who may be asked, in which order, and why nobody may."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Acceptance, Deployment, Fleet, Offer, Route, Stage
from ecluse.domain.errors import (
    ContextExceeded,
    EcluseError,
    InvalidRequest,
    NothingAlive,
    RouteForbidden,
    UnknownRoute,
)
from ecluse.domain.routing.plan import Plan, plan
from ecluse.domain.values.account import Account
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.request import ChatRequest

ANYBODY = Account(KeyId("k"), "anybody")
PICKY = Acceptance(least_logprob=-0.5)
NAMES = ("small", "large", "auto", "smal", "x")


def deployment(model: str, place: str = "here", **facts: object) -> Deployment:
    """A deployment of a model, with what its offer says."""
    return Deployment(f"{place}/{model}", model, place, place, Offer(model, **facts))  # type: ignore[arg-type]


def fleet_of(*deployments: Deployment, routes: tuple[Route, ...] = (), **more: object) -> Fleet:
    """A fleet with these deployments in this order."""
    by_model: dict[str, tuple[Deployment, ...]] = {}
    for each in deployments:
        by_model[each.model] = (*by_model.get(each.model, ()), each)
    return Fleet(by_model, {route.name: route for route in routes}, **more)  # type: ignore[arg-type]


def asked(route: str, *texts: str, **more: object) -> ChatRequest:
    """A request for a route."""
    return ChatRequest(route, {}, texts, **more)  # type: ignore[arg-type]


def ladder(*models: str) -> Route:
    """The route ``auto``, which rises through models."""
    return Route("auto", tuple(Stage(model, PICKY) for model in models))


def names(planned: Plan) -> list[tuple[str, list[str]]]:
    """Models with their deployments, in order."""
    return [(stage.model, [d.name for d in stage.deployments]) for stage in planned.stages]


def test_a_models_own_name_is_a_route() -> None:
    """One stage with all its deployments, in the fleet's order."""
    fleet = fleet_of(deployment("m", "a"), deployment("n"), deployment("m", "b"))
    planned = plan(asked("m"), ANYBODY, fleet)
    assert names(planned) == [("m", ["a/m", "b/m"])]
    assert planned.route == "m"


def test_a_route_keeps_its_order_and_its_last_word() -> None:
    """Every stage but the last is judged; the last one's answer is always accepted."""
    fleet = fleet_of(deployment("large"), deployment("small"), routes=(ladder("small", "large"),))
    planned = plan(asked("auto"), ANYBODY, fleet)
    assert [stage.model for stage in planned.stages] == ["small", "large"]
    assert [stage.acceptance for stage in planned.stages] == [PICKY, Acceptance()]


def test_the_last_word_moves_to_the_last_that_is_there() -> None:
    """Where the largest model is missing, the one before it is not judged in vain."""
    fleet = fleet_of(deployment("small"), routes=(ladder("small", "large"),))
    (stage,) = plan(asked("auto"), ANYBODY, fleet).stages
    assert (stage.model, stage.acceptance) == ("small", Acceptance())


def test_a_route_hides_a_model_of_its_name() -> None:
    """What the operator wrote counts."""
    fleet = fleet_of(
        deployment("auto"), deployment("other"), routes=(Route("auto", (Stage("other"),)),)
    )
    assert names(plan(asked("auto"), ANYBODY, fleet)) == [("other", ["here/other"])]


def test_dead_deployments_may_still_be_asked() -> None:
    """Our picture may be old: they come last, as the fleet orders them, but they come."""
    dead = msgspec.structs.replace(deployment("m"), alive=False)
    assert names(plan(asked("m"), ANYBODY, fleet_of(dead))) == [("m", ["here/m"])]


def test_an_unknown_name_tells_near_ones() -> None:
    """And only those which the key may use."""
    fleet = fleet_of(deployment("mistral"), deployment("mixtral"), silent_upstreams=("away",))
    with pytest.raises(UnknownRoute, match=r"mistral.*Not reachable now: away") as caught:
        plan(asked("mistrel"), ANYBODY, fleet)
    assert (caught.value.http_status, caught.value.param) == (404, "model")
    scoped = Account(KeyId("k"), "scoped", frozenset({"mixtral"}))
    with pytest.raises(UnknownRoute) as caught:
        plan(asked("mistrel"), scoped, fleet)
    assert "mistral" not in str(caught.value)
    assert "mixtral" in str(caught.value)


def test_a_long_unknown_name_is_cut() -> None:
    """It goes into the answer and the log."""
    with pytest.raises(UnknownRoute) as caught:
        plan(asked("x" * 100_000), ANYBODY, fleet_of(deployment("m")))
    assert len(str(caught.value)) < 1_000


def test_a_forbidden_route_tells_the_allowed_ones() -> None:
    """403 with what the key may do."""
    scoped = Account(KeyId("k"), "pupils", frozenset({"b", "a"}))
    with pytest.raises(RouteForbidden, match=r"'pupils'.*'m'.*a, b") as caught:
        plan(asked("m"), scoped, fleet_of(deployment("m")))
    assert caught.value.http_status == 403


def test_the_models_that_nobody_serves_are_named() -> None:
    """Whoever wrote the route mistyped one of them, perhaps."""
    with pytest.raises(NothingAlive, match="'auto' now: nobody serves 'smal', 'larg'"):
        plan(asked("auto"), ANYBODY, fleet_of(deployment("x"), routes=(ladder("smal", "larg"),)))
    with pytest.raises(NothingAlive, match=r"Nothing can answer for 'new' now\."):
        plan(asked("new"), ANYBODY, fleet_of())


@pytest.mark.parametrize("routes", [(), (ladder("gone"),)])
def test_nobody_is_there(routes: tuple[Route, ...]) -> None:
    """503 with when to ask again, and who is silent."""
    with pytest.raises(NothingAlive, match="Not reachable: away") as caught:
        plan(asked("auto"), ANYBODY, fleet_of(routes=routes, silent_upstreams=("away",)))
    assert caught.value.http_status == 503
    assert caught.value.retry_after_s


def test_images_go_to_who_sees() -> None:
    """Unknown may see; only a stated no excludes."""
    fleet = fleet_of(
        deployment("m", "blind", accepts_images=False),
        deployment("m", "sees", accepts_images=True),
        deployment("m", "unknown"),
    )
    assert names(plan(asked("m", has_images=True), ANYBODY, fleet)) == [
        ("m", ["sees/m", "unknown/m"])
    ]
    assert len(plan(asked("m"), ANYBODY, fleet).stages[0].deployments) == 3
    with pytest.raises(InvalidRequest, match="images") as caught:
        plan(
            asked("m", has_images=True),
            ANYBODY,
            fleet_of(deployment("m", accepts_images=False)),
        )
    assert caught.value.param == "messages"


def test_a_too_long_prompt_names_the_largest_context() -> None:
    """So that the reader knows how much would do."""
    fleet = fleet_of(deployment("m", "a", context_tokens=4), deployment("m", "b", context_tokens=8))
    with pytest.raises(ContextExceeded, match="8 tokens") as caught:
        plan(asked("m", "w " * 20), ANYBODY, fleet)
    assert (caught.value.http_status, caught.value.code) == (400, "context_length_exceeded")


def test_a_prompt_that_fits_only_the_large_goes_there() -> None:
    """A stage whose deployments are all too small is left out."""
    fleet = fleet_of(
        deployment("small", context_tokens=4),
        deployment("large", context_tokens=100),
        routes=(ladder("small", "large"),),
    )
    assert names(plan(asked("auto", "w " * 20), ANYBODY, fleet)) == [("large", ["here/large"])]


@given(
    texts=st.lists(st.text("ab é\n\t\u3000", max_size=30), max_size=4),
    context=st.integers(1, 40),
    longest=st.integers(1, 12) | st.none(),
)
def test_refused_only_if_the_fewest_tokens_do_not_fit(
    texts: list[str], context: int, longest: int | None
) -> None:
    """A prompt that the most generous tokenizer could fit is never refused for its length."""
    fleet = fleet_of(deployment("m", context_tokens=context, longest_token_bytes=longest))
    words = sum(len(text.split()) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    fewest = max(words, 0 if longest is None else -(-size // longest))
    try:
        plan(asked("m", *texts), ANYBODY, fleet)
        refused = False
    except ContextExceeded:
        refused = True
    assert not refused or fewest >= context
    if longest == 1 and size >= context:
        assert refused, "every byte is a token"


@given(st.text(max_size=50), st.integers(1, 1_000))
def test_a_prompt_of_fewer_bytes_than_the_context_always_fits(text: str, context: int) -> None:
    """No tokenizer makes more tokens than bytes."""
    if len(text.encode(errors="replace")) < context:
        fleet = fleet_of(deployment("m", context_tokens=context, longest_token_bytes=1))
        assert plan(asked("m", text), ANYBODY, fleet).stages


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "context_tokens": st.integers(1, 10),
        "accepts_images": st.booleans(),
        "longest_token_bytes": st.integers(1, 3),
    },
)


@given(
    deployments=st.lists(
        st.builds(
            lambda model, place, facts: deployment(model, place, **facts),
            st.sampled_from(NAMES),
            st.sampled_from("abc"),
            FACTS,
        ),
        max_size=6,
    ),
    stages=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    name=st.sampled_from(NAMES),
    allowed=st.none() | st.frozensets(st.sampled_from(NAMES)),
    text=st.text("a b", max_size=20),
    images=st.booleans(),
)
def test_a_plan_can_be_carried_out_or_says_why_not(
    deployments: list[Deployment],
    stages: list[str],
    name: str,
    allowed: frozenset[str] | None,
    text: str,
    images: bool,
) -> None:
    """Whatever the fleet: stages that have deployments of their model, or an error of ours."""
    fleet = fleet_of(*deployments, routes=(ladder(*stages),))
    account = Account(KeyId("k"), "k", allowed)
    try:
        planned = plan(asked(name, text, has_images=images), account, fleet)
    except EcluseError as error:
        failure = error
    else:
        failure = None
    if failure is not None:
        assert failure.http_status in (400, 403, 404, 503)
        assert failure.next_step
        return
    assert account.may_use(name)
    assert planned.stages[-1].acceptance == Acceptance()
    for stage in planned.stages:
        assert stage.deployments
        in_fleet = fleet.deployments[stage.model]
        assert [d for d in in_fleet if d in stage.deployments] == list(stage.deployments)
        assert not (images and any(d.offer.accepts_images is False for d in stage.deployments))
