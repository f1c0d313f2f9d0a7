"""The path of a request, from arrival to its settled account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ecluse.domain.catalog.deployments import Acceptance, Fleet
from ecluse.domain.errors import EcluseError, UpstreamError
from ecluse.domain.ledger.estimate import estimate_tokens
from ecluse.domain.routing.calls import adds_logprobs, call_for
from ecluse.domain.routing.cascade import Evidence, Verdict, after_failure, conclude, consider
from ecluse.domain.routing.continuation import (
    Delivered,
    Diverged,
    Resumption,
    Stitch,
    resumption,
)
from ecluse.domain.routing.course import Course, Turn
from ecluse.domain.routing.formats import SchemaCheck, is_well_formed
from ecluse.domain.routing.plan import plan
from ecluse.domain.values.account import Account
from ecluse.domain.values.answer import Events, Progress
from ecluse.domain.values.identifiers import RequestId
from ecluse.domain.values.request import ChatRequest
from ecluse.ports import Clock
from ecluse.runtime.attempts import Asked, Attempt, Attempts
from ecluse.runtime.endurance import Endurance
from ecluse.runtime.ledger_writer import LedgerWriter
from ecluse.runtime.race import first_to_begin

ANY_ANSWER = Acceptance()


class Gateway:
    """Answers requests with the least model that is good enough, whatever fails on the way."""

    def __init__(
        self,
        fleet_now: Callable[[], Fleet],
        attempts: Attempts,
        endurance: Endurance,
        ledger: LedgerWriter,
        fits_schema: SchemaCheck,
        clock: Clock,
    ) -> None:
        self._fleet_now = fleet_now
        self._attempts = attempts
        self._endurance = endurance
        self._ledger = ledger
        self._fits_schema = fits_schema
        self._clock = clock

    async def answer(
        self, request_id: RequestId, request: ChatRequest, account: Account
    ) -> AsyncGenerator[Progress, None]:
        """Yield what is the client's, as soon as it is.

        Before the first yield nothing is committed, and an error raised is the request's answer;
        after it, an error breaks the answer off. Closing the generator, as on a client's
        disconnect, closes the upstream's connection and settles what was used.
        """
        self._ledger.refuse_when_full()
        asked = Asked(request_id, request, account, self._clock.monotonic_ns())
        course = Course(plan(request, account, self._fleet_now()))
        delivered = Delivered()
        self._endurance.earn_hedge()
        turn = await self._endurance.next_turn(course, request, asked.began_ns)
        while True:
            try:
                async with aclosing(self._told(asked, course, turn, delivered)) as told:
                    async for progress in told:
                        delivered.add(progress.events)
                        yield progress
            except UpstreamError as error:
                if delivered.is_finished:
                    return  # only what comes after the end was lost
                turn = await self._turn_after(error, asked, course, turn, delivered)
                continue
            if delivered.head is not None:
                return
            course.rise()
            turn = await self._endurance.next_turn(course, request, asked.began_ns)

    async def _turn_after(
        self, error: UpstreamError, asked: Asked, course: Course, turn: Turn, delivered: Delivered
    ) -> Turn:
        """Whom to ask after a failure. Raises it where nobody may be."""
        course.failure = error
        verdict = after_failure(
            told=delivered.is_begun,
            can_continue=delivered.can_be_continued(asked.request),
            another_may_do=error.another_may_do or _is_our_doing(error, asked.request, turn),
        )
        if verdict is Verdict.RESTART:
            return await self._endurance.next_turn(course, asked.request, asked.began_ns)
        if verdict is Verdict.CONTINUE:
            return await self._endurance.next_turn_to_continue(course, turn)
        raise error

    def _told(
        self, asked: Asked, course: Course, turn: Turn, delivered: Delivered
    ) -> AsyncGenerator[Progress, None]:
        """What one deployment adds to the answer; nothing where it does not suffice."""
        if delivered.head is None:
            return self._good_enough(asked, course, turn)
        return self._continued(asked, turn, delivered)

    async def _good_enough(
        self, asked: Asked, course: Course, turn: Turn
    ) -> AsyncGenerator[Progress, None]:
        """A deployment's answer from the beginning, once it is good enough."""
        attempt = await self._first_to_begin(asked, course, turn)
        async with attempt:
            stage = attempt.turn.stage
            strip = adds_logprobs(asked.request, attempt.turn.deployment, stage.acceptance)
            events = await self._held(asked.request, attempt)
            if not events:
                attempt.outdo()
                return
            while events:
                yield Progress(events, stage.model, asked.attempts, strip)
                events = await attempt.next()
            attempt.complete()

    async def _first_to_begin(self, asked: Asked, course: Course, turn: Turn) -> Attempt:
        def attempt_of(turn: Turn) -> Attempt:
            call = call_for(asked.request, turn.deployment, turn.stage.acceptance)
            return self._attempts.prepare(asked, turn, call)

        def backup() -> Attempt | None:
            other = self._endurance.hedge(course, turn)
            return None if other is None else attempt_of(other)

        # Only a stream shows when it begins.
        hedge_after_s = self._endurance.hedge_after_s if asked.request.stream else None
        return await first_to_begin(attempt_of(turn), backup, hedge_after_s)

    async def _held(self, request: ChatRequest, attempt: Attempt) -> Events:
        """Hold an attempt's events back until they are good enough; () if they never are."""
        acceptance = attempt.turn.stage.acceptance
        evidence = Evidence()
        held: list[Events] = []
        while events := await attempt.next():
            held.append(events)
            evidence = evidence.with_events(events)
            verdict = consider(acceptance, evidence, may_commit_early=request.format.is_free)
            if verdict is Verdict.COMMIT:
                return _joined(held)
            if verdict is Verdict.RISE:
                return ()
        answer = _joined(held)
        verdict = conclude(
            acceptance,
            evidence,
            well_formed=is_well_formed(request.format, answer, self._fits_schema),
            limited=request.answer_limit_tokens is not None,
        )
        return answer if verdict is Verdict.COMMIT else ()

    async def _continued(
        self, asked: Asked, turn: Turn, delivered: Delivered
    ) -> AsyncGenerator[Progress, None]:
        """Go on with an answer that another deployment began.

        The last word is said again, so that it is cut into tokens as a whole; where that comes out
        differently, as it may if answers are drawn at random, the text is gone on with as it is.
        """
        for exactly in (False, True):
            at = await self._resumption(turn, delivered, exactly=exactly)
            stitch = Stitch(delivered, at)
            call = call_for(asked.request, turn.deployment, ANY_ANSWER, at if at.prefix else None)
            attempt = self._attempts.prepare(asked, turn, call)
            await attempt.begin()
            async with attempt:
                try:
                    while events := await attempt.next():
                        if joined := stitch.join(events):
                            yield Progress(joined, turn.stage.model, asked.attempts)
                except Diverged:
                    continue
                attempt.complete()
                return

    async def _resumption(self, turn: Turn, delivered: Delivered, *, exactly: bool) -> Resumption:
        at = resumption(delivered.content, exactly=exactly)
        if not at.prefix:
            return at
        counted = await self._attempts.count_tokens(turn.deployment, at.prefix)
        return at.of_tokens(estimate_tokens(at.prefix) if counted is None else counted)


def _is_our_doing(error: EcluseError, request: ChatRequest, turn: Turn) -> bool:
    """Whether a refusal is about the log-probabilities that only we asked for."""
    return "logprob" in error.message.lower() and adds_logprobs(
        request, turn.deployment, turn.stage.acceptance
    )


def _joined(held: list[Events]) -> Events:
    return tuple(event for events in held for event in events)
