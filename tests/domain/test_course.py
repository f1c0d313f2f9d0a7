"""Who is asked next: each deployment once a round, in the plan's order, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Acceptance, Deployment, Offer
from ecluse.domain.routing.course import LAPS_AT_MOST, Course, Turn
from ecluse.domain.routing.plan import Plan, PlannedStage


def deployment(position: int, place: int, *, can_continue: bool = True) -> Deployment:
    """A deployment of a stage's model."""
    model, name = f"model{position}", f"place{place}"
    offer = Offer(model, continuation="prefill" if can_continue else None)
    return Deployment(f"{name}/{model}", model, name, name, offer)


def plan_of(*stages: tuple[Deployment, ...]) -> Plan:
    """A plan with these deployments in this order."""
    return Plan("auto", tuple(PlannedStage(s[0].model, s, Acceptance()) for s in stages))


PLANS = st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=4).map(
    lambda stages: plan_of(
        *(
            tuple(deployment(position, place, can_continue=can) for place, can in enumerate(stage))
            for position, stage in enumerate(stages)
        )
    )
)


def everyone(plan: Plan) -> list[Deployment]:
    """All deployments in the plan's order."""
    return [deployment for stage in plan.stages for deployment in stage.deployments]


def able_from(plan: Plan, position: int) -> set[str]:
    """Those that can go on with an answer of a stage."""
    return {d.name for s in plan.stages[position:] for d in s.deployments if d.can_continue}


class Door:
    """Lets some deployments in, and notes whom: one that was let in counts as asked."""

    def __init__(self, names: set[str] | None = None) -> None:
        self.names = names
        self.admitted: list[str] = []

    def __call__(self, deployment: Deployment) -> bool:
        if self.names is not None and deployment.name not in self.names:
            return False
        self.admitted.append(deployment.name)
        return True


@st.composite
def doors(draw: st.DrawFn, plan: Plan) -> Door:
    """Any deployments of a plan may be asked at present."""
    names = [deployment.name for deployment in everyone(plan)]
    return Door(set(draw(st.lists(st.sampled_from(names), unique=True))))


def until_nobody(course: Course, door: Door) -> Iterator[Turn]:
    """The turns of what is left of a round, all failing."""
    while (turn := course.turn(door)) is not None:
        yield turn


@given(data=st.data(), plan=PLANS, rounds=st.integers(1, 3))
def test_a_round_asks_each_that_may_be_asked_once_in_order(
    data: st.DataObject, plan: Plan, rounds: int
) -> None:
    """While all fail; and so does every further round."""
    course = Course(plan)
    for number in range(rounds):
        assert course.rounds == number
        door = data.draw(doors(plan))
        turns = list(until_nobody(course, door))
        able = [d.name for d in everyone(plan) if d.name in (door.names or ())]
        assert [turn.deployment.name for turn in turns] == able == door.admitted
        assert all(turn.deployment in turn.stage.deployments for turn in turns)
        assert all(turn.stage is plan.stages[turn.position] for turn in turns)
        course.begin_again()


@given(data=st.data(), plan=PLANS)
def test_whatever_happens_the_order_is_kept(data: st.DataObject, plan: Plan) -> None:
    """Deployments come and go, stages rise, rounds begin: none is asked twice a round, nobody
    before a stage that was found wanting, and nobody is let in without being asked.
    """
    course = Course(plan)
    asked: set[str] = set()
    position = risen_to = 0
    for action in data.draw(st.lists(st.sampled_from(["ask", "ask", "back", "rise", "again"]))):
        door = data.draw(doors(plan))
        turn: Turn | None = None
        if action == "ask":
            turn = course.turn(door)
        elif action == "back" and position < len(plan.stages):
            stage = plan.stages[position]
            turn = course.backup(Turn(position, stage, stage.deployments[0]), door)
            assert turn is None or turn.position == position
        elif action == "rise" and course.turn(door) is not None:
            course.rise()
            position = risen_to = 1 + max(
                place
                for place, stage in enumerate(plan.stages)
                if any(d.name == door.admitted[-1] for d in stage.deployments)
            )
            asked.update(door.admitted)
            assert set(course.deployments()) == {
                d for stage in plan.stages[risen_to:] for d in stage.deployments
            }
            continue
        elif action == "again":
            course.begin_again()
            asked.clear()
            position = risen_to
        assert door.admitted == ([] if turn is None else [turn.deployment.name])
        if turn is not None:
            assert turn.deployment.name not in asked
            assert turn.position >= position
            asked.add(turn.deployment.name)
            position = turn.position


@given(plan=PLANS)
def test_rising_ends(plan: Plan) -> None:
    """Each stage once, then nobody, in this round and in any other."""
    course, positions = Course(plan), []
    while (turn := course.turn(Door())) is not None:
        positions.append(turn.position)
        course.rise()
    assert positions == list(range(len(plan.stages)))
    course.begin_again()
    assert course.turn(Door()) is None
    assert list(course.deployments()) == []


def test_a_stage_that_was_found_wanting_is_not_asked_again() -> None:
    """Nor any smaller one, though that had only failed."""
    small, middle, large = (deployment(position, 0) for position in range(3))
    course = Course(plan_of((small,), (middle,), (large,)))
    assert course.turn(Door({middle.name})) is not None
    course.rise()
    assert [turn.deployment for turn in until_nobody(course, Door())] == [large]
    course.begin_again()
    assert [turn.deployment for turn in until_nobody(course, Door())] == [large]


@given(data=st.data(), plan=PLANS)
def test_a_backup_is_of_the_same_model(data: st.DataObject, plan: Plan) -> None:
    """Another one that was not asked yet, the first that may be; it is not asked again."""
    course, door = Course(plan), Door()
    for _ in range(data.draw(st.integers(1, len(everyone(plan))))):
        lead = course.turn(door)
    assert lead is not None
    rest = [d.name for d in lead.stage.deployments if d.name not in door.admitted]
    second = data.draw(doors(plan))
    backup = course.backup(lead, second)
    able = [name for name in rest if name in (second.names or ())]
    assert second.admitted == able[:1]
    if backup is None:
        assert not able
        return
    assert (backup.deployment.name, backup.position) == (able[0], lead.position)
    assert backup.deployment.model == lead.deployment.model
    assert backup.deployment.name not in [t.deployment.name for t in until_nobody(course, Door())]


@given(data=st.data(), plan=PLANS)
def test_continuing_asks_only_those_that_can_and_ends(data: st.DataObject, plan: Plan) -> None:
    """Each of the same or a larger model; however often they come back, not for ever."""
    course = Course(plan)
    for _ in range(data.draw(st.integers(1, len(everyone(plan))))):
        turn = course.turn(Door())
    assert turn is not None
    first = turn
    asked: list[str] = []
    while True:
        door = data.draw(doors(plan))
        could_go_on = course.can_go_on(turn)
        there = able_from(plan, turn.position) & (door.names or set())
        following = course.turn_to_continue(turn, door)
        if following is None:
            assert door.admitted == []
            assert not (could_go_on and there)
            break
        assert door.admitted == [following.deployment.name]
        assert following.deployment.name in there
        if following.deployment.name == turn.deployment.name:
            assert there == {turn.deployment.name}, "only as the last"
        asked.append(following.deployment.name)
        turn = following
    able = able_from(plan, first.position)
    assert set(asked) <= able
    assert len(asked) <= (LAPS_AT_MOST + 1) * len(able)


@given(plan=PLANS)
def test_continuing_while_all_are_there(plan: Plan) -> None:
    """Everybody that can gets a turn before any gets two; so long one could go on, one does."""
    course = Course(plan)
    turn = course.turn(Door())
    assert turn is not None
    able = [d.name for d in everyone(plan) if d.can_continue]
    others = [name for name in able if name != turn.deployment.name]
    asked = []
    while (following := course.turn_to_continue(turn, Door())) is not None:
        asked.append(following.deployment.name)
        turn = following
    assert asked[: len(others)] == others
    assert bool(asked) == bool(able)
    assert not course.can_go_on(turn)


@pytest.mark.parametrize("can_continue", [True, False])
def test_the_only_one_may_come_back(can_continue: bool) -> None:
    """If it can go on with an answer at all, and only some times."""
    course = Course(plan_of((deployment(0, 0, can_continue=can_continue),)))
    turn = course.turn(Door())
    assert turn is not None
    assert course.can_go_on(turn) is can_continue
    for _ in range(LAPS_AT_MOST * can_continue):
        assert course.turn_to_continue(turn, Door(set())) is None, "it is not back yet"
        assert course.turn_to_continue(turn, Door()) == turn
    assert course.turn_to_continue(turn, Door()) is None
    assert not course.can_go_on(turn)
