"""Finds the next deployment to ask when one fails, and waits where waiting helps."""

from __future__ import annotations

import asyncio
import math

import msgspec

from ecluse.domain.errors import DeadlinePassed, EcluseError, NothingAlive
from ecluse.domain.fleet.hedging import HedgeBudget
from ecluse.domain.fleet.retries import pause_s
from ecluse.domain.routing.course import Course, Turn
from ecluse.domain.values.request import ChatRequest
from ecluse.ports import Clock
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.chance import share

US_PER_S = 1_000_000
NS_PER_S = 1_000_000_000
CONTINUE_WITHIN_S = 10
"""A client in the middle of an answer waits longer than one that has nothing yet."""
OTHERS_FIRST_S = 3
"""How long others are waited for before the one that has just failed is asked again: longer than
a breaker's first pause."""
LOOK_AGAIN_S = 0.02


class EnduranceSettings(msgspec.Struct, frozen=True):
    """``retry_s`` is how long a request is tried again after everybody failed it. ``hedge_after_s``
    is how long to wait for a first token before another deployment is asked too, None for never;
    at most ``hedge_share`` of the requests are.
    """

    retry_s: float = 1.5
    hedge_after_s: float | None = None
    hedge_share: float = 0.05


class Endurance:
    """What one generation of the configuration does about failures."""

    def __init__(self, settings: EnduranceSettings, breakers: Breakers, clock: Clock) -> None:
        self._settings = settings
        self._breakers = breakers
        self._clock = clock
        self._hedges = HedgeBudget(settings.hedge_share)

    @property
    def hedge_after_s(self) -> float | None:
        """When to ask a second deployment, None for never."""
        return self._settings.hedge_after_s

    def refuse_when_late(self, request: ChatRequest) -> None:
        """Raise DeadlinePassed where the client no longer waits for an answer."""
        if request.answer_by_us is not None and self._clock.unix_us() >= request.answer_by_us:
            raise DeadlinePassed(
                "The deadline of the request has passed.",
                next_step="Send a later x-ecluse-deadline (Unix seconds), or none.",
            )

    async def next_turn(self, course: Course, request: ChatRequest, began_ns: int) -> Turn:
        """The next deployment to ask from the beginning, waiting for one if need be.

        ``began_ns`` is when the request came, on the monotonic clock. Raises the last failure,
        NothingAlive or DeadlinePassed where there is none.
        """
        while True:
            self.refuse_when_late(request)
            turn = course.turn(self._breakers.admit)
            if turn is not None:
                return turn
            spent_s = (self._clock.monotonic_ns() - began_ns) / NS_PER_S
            await asyncio.sleep(self._pause_s(course, self._settings.retry_s - spent_s))
            course.begin_again()

    async def next_turn_to_continue(self, course: Course, begun_by: Turn) -> Turn:
        """The next deployment that can go on with an answer, waiting a little for one to come
        back. Raises the last failure.
        """
        began_ns = self._clock.monotonic_ns()
        ends_ns = began_ns + CONTINUE_WITHIN_S * NS_PER_S
        while True:
            waited = self._clock.monotonic_ns() - began_ns >= OTHERS_FIRST_S * NS_PER_S
            turn = course.turn_to_continue(begun_by, self._breakers.admit, waited=waited)
            if turn is not None:
                return turn
            if not course.can_go_on(begun_by) or self._clock.monotonic_ns() >= ends_ns:
                raise course.failure or NothingAlive("Nothing can go on with the answer.")
            await asyncio.sleep(LOOK_AGAIN_S)

    def hedge(self, course: Course, slow: Turn) -> Turn | None:
        """Another deployment to ask beside a slow one, while the budget allows it."""
        budget = self._hedges.spent()
        turn = course.backup(slow, self._breakers.admit) if budget is not None else None
        if budget is not None and turn is not None:
            self._hedges = budget
        return turn

    def earn_hedge(self) -> None:
        """A request came in."""
        self._hedges = self._hedges.earned()

    def _pause_s(self, course: Course, left_s: float) -> float:
        closed_for_s = self._breakers.wait_s(course.deployments())
        error = course.failure
        if error is not None:
            pause = pause_s(course.rounds, error, closed_for_s, left_s, share(self._clock))
        else:
            pause = closed_for_s if closed_for_s < left_s else None
        if pause is None:
            raise error or self._left_alone(course, math.ceil(closed_for_s))
        return pause

    def _left_alone(self, course: Course, wait_s: int) -> EcluseError:
        """The error where nobody may be asked at present."""
        refusal = self._breakers.refusal(course.deployments())
        if refusal is not None:
            return refusal.again(wait_s)
        return NothingAlive(
            "Every deployment that could answer has failed and is left alone for a while.",
            next_step="`ecluse doctor` tells what is wrong with them.",
            retry_after_s=max(1, wait_s),
        )
