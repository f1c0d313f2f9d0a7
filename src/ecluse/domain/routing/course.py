"""Who is asked next: the plan's stages and their deployments in turn, as answers fail or do not
suffice. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ecluse.domain.catalog.deployments import Deployment
from ecluse.domain.errors import UpstreamError
from ecluse.domain.routing.plan import Plan, PlannedStage


class Turn(msgspec.Struct, frozen=True):
    """One deployment to ask for one stage; ``position`` is the stage's place in the plan."""

    position: int
    stage: PlannedStage
    deployment: Deployment


LAPS_AT_MOST = 3
"""How often all deployments may be asked again to go on with one answer."""

MayAsk = Callable[[Deployment], bool]


class Course:
    """Where a request stands in its plan. A round asks every deployment at most once; a stage
    whose answer did not suffice is not asked again.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._position = 0
        self._risen_to = 0
        self._tried: set[str] = set()
        self._laps = 0
        self.rounds = 0
        self.failure: UpstreamError | None = None

    def turn(self, may_ask: MayAsk) -> Turn | None:
        """The next one to ask from the beginning; None where nobody is left in this round."""
        for turn in self._turns(self._position):
            if may_ask(turn.deployment):
                self._position = turn.position
                self._tried.add(turn.deployment.name)
                return turn
        return None

    def turn_to_continue(
        self, begun_by: Turn, may_ask: MayAsk, *, waited: bool = True
    ) -> Turn | None:
        """The next one that can go on with an answer: of the same model first, then of larger
        ones. Once all were tried they may have come back; but not for ever.

        The one that failed a moment ago is asked again only where nobody else could go on, or once
        the others were ``waited`` for: what has just stalled would most likely stall again.
        """
        turn = self._able(begun_by.position, may_ask)
        if turn is not None or self._laps == LAPS_AT_MOST:
            return turn
        tried, self._tried = self._tried, {begun_by.deployment.name}
        turn = self._able(begun_by.position, may_ask)
        alone = not any(self._others(begun_by))
        may_return = begun_by.deployment.can_continue and (waited or alone)
        if turn is None and may_return and may_ask(begun_by.deployment):
            turn = begun_by
        if turn is None:
            self._tried = tried
        else:
            self._laps += 1
        return turn

    def can_go_on(self, begun_by: Turn) -> bool:
        """Whether anybody could go on with an answer, were all of them back."""
        able = begun_by.deployment.can_continue or any(self._others(begun_by))
        return able and self._laps < LAPS_AT_MOST

    def _others(self, begun_by: Turn) -> Iterator[bool]:
        """Whether each other deployment could go on with its answer, were it back."""
        for stage in self._plan.stages[begun_by.position :]:
            for deployment in stage.deployments:
                if deployment.name != begun_by.deployment.name:
                    yield deployment.can_continue

    def _able(self, position: int, may_ask: MayAsk) -> Turn | None:
        for turn in self._turns(position):
            if turn.deployment.can_continue and may_ask(turn.deployment):
                self._tried.add(turn.deployment.name)
                return turn
        return None

    def backup(self, turn: Turn, may_ask: MayAsk) -> Turn | None:
        """Another deployment of the same model, for when this one is slow to begin."""
        for other in self._turns(turn.position):
            if other.position == turn.position and may_ask(other.deployment):
                self._tried.add(other.deployment.name)
                return other
        return None

    def rise(self) -> None:
        """The stage's answer did not suffice: go on with the next one."""
        self._position = self._risen_to = self._position + 1

    def begin_again(self) -> None:
        """Begin another round with those stages whose answers were not found wanting."""
        self.rounds += 1
        self._position = self._risen_to
        self._tried.clear()

    def deployments(self) -> Iterator[Deployment]:
        """Those that another round would ask."""
        for stage in self._plan.stages[self._risen_to :]:
            yield from stage.deployments

    def _turns(self, position: int) -> Iterator[Turn]:
        for place, stage in enumerate(self._plan.stages[position:], position):
            for deployment in stage.deployments:
                if deployment.name not in self._tried:
                    yield Turn(place, stage, deployment)
