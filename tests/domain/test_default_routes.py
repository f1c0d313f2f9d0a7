"""The routes there are when nobody wrote any."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Acceptance, Deployment, Offer, Route, Stage
from ecluse.domain.routing.default_routes import AUTO, DEMO, routes

LADDER = (Stage("demo-small", Acceptance(-0.1)), Stage("demo-large"))
DEMO_MODELS = ("demo-small", "demo-large")


def places(
    sizes: dict[str, int | None], demonstration: tuple[str, ...] = ()
) -> dict[str, tuple[Deployment, ...]]:
    """A deployment of each model, with its number of parameters."""
    made = {
        name: (Deployment(name, name, "u", "u", Offer(name, parameters=size)),)
        for name, size in sizes.items()
    }
    return made | {
        name: (Deployment(name, name, "d", "d", Offer(name, parameters=10**15), None, True),)
        for name in demonstration
    }


def test_auto_is_the_largest_model() -> None:
    """The best that can be told without evidence."""
    found = routes((), LADDER, places({"a": 7, "b": 70, "c": None}))
    assert found == {AUTO: Route(AUTO, (Stage("b"),))}


def test_auto_is_the_first_where_sizes_are_unknown() -> None:
    """And stays it, so that answers do not change from minute to minute."""
    assert routes((), (), places({"z": None, "a": None}))[AUTO].stages == (Stage("z"),)


def test_the_largest_of_a_models_places_counts() -> None:
    """One server tells the size, another does not."""
    deployments = places({"a": 7, "b": 8})
    deployments["a"] += places({"a": 70})["a"]
    assert routes((), (), deployments)[AUTO].stages == (Stage("a"),)


def test_alone_the_demonstration_answers_auto() -> None:
    """It rises through its models only while nothing else is there."""
    alone = routes((), LADDER, places({}, DEMO_MODELS))
    assert alone == {DEMO: Route(DEMO, LADDER), AUTO: Route(AUTO, LADDER)}
    beside = routes((), LADDER, places({"tiny": 1}, DEMO_MODELS))
    assert beside[AUTO].stages == (Stage("tiny"),)
    assert beside[DEMO].stages == LADDER


def test_no_demonstration_without_all_its_models() -> None:
    """A ladder with a missing rung would show the wrong thing."""
    assert routes((), LADDER, places({}, ("demo-small",))) == {}
    assert routes((), (), places({}, DEMO_MODELS)) == {}


def test_what_is_configured_stands() -> None:
    """Also where its name is one of ours."""
    mine = (Route(AUTO, (Stage("x"),)), Route(DEMO, (Stage("y"),)), Route("fast", (Stage("z"),)))
    found = routes(mine, LADDER, places({"a": 7}, DEMO_MODELS))
    assert tuple(found.values()) == mine


def dead(deployments: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
    """The same places, none of which answers any more."""
    return tuple(msgspec.structs.replace(place, alive=False) for place in deployments)


def test_auto_passes_over_a_model_nobody_serves_any_more() -> None:
    """A smaller one that answers is better; where none does, the largest is the one to wait for."""
    deployments = places({"a": 7, "b": 70})
    deployments["b"] = dead(deployments["b"])
    assert routes((), (), deployments)[AUTO].stages == (Stage("a"),)
    deployments["b"] += places({"b": 70})["b"]
    assert routes((), (), deployments)[AUTO].stages == (Stage("b"),)
    gone = {model: dead(each) for model, each in deployments.items()}
    assert routes((), LADDER, gone | places({}, DEMO_MODELS))[AUTO].stages == (Stage("b"),)


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 9)),
    gone=st.sets(st.sampled_from("abcd")),
    demonstration=st.sampled_from([(), ("demo-small",), DEMO_MODELS]),
)
def test_every_route_can_be_answered(
    sizes: dict[str, int | None], gone: set[str], demonstration: tuple[str, ...]
) -> None:
    """Each stage's model is there, none is passed over for the toys, and the living come first."""
    deployments = places(sizes, demonstration)
    deployments |= {model: dead(deployments[model]) for model in gone & sizes.keys()}
    found = routes((), LADDER, deployments)
    assert all(stage.model in deployments for route in found.values() for stage in route.stages)
    if sizes:
        (stage,) = found[AUTO].stages
        candidates = (sizes.keys() - gone) or sizes.keys()
        assert stage.model in candidates
        assert (sizes[stage.model] or 0) == max(sizes[model] or 0 for model in candidates)
