"""The path of a request, from arrival to its settled account."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ecluse.domain.catalog.deployments import Acceptance, Fleet
from ecluse.domain.errors import NothingAlive, UpstreamError
from ecluse.domain.routing.calls import adds_logprobs, call_for
from ecluse.domain.routing.cascade import Evidence, Verdict, consider
from ecluse.domain.routing.plan import plan
from ecluse.domain.values.account import Account
from ecluse.domain.values.answer import Events, Progress
from ecluse.domain.values.identifiers import RequestId
from ecluse.domain.values.request import Call, ChatRequest
from ecluse.runtime.attempts import Attempt, Attempts
from ecluse.runtime.ledger_writer import LedgerWriter


class Gateway:
    """Answers requests with the least model that is good enough."""

    def __init__(
        self, fleet_now: Callable[[], Fleet], attempts: Attempts, ledger: LedgerWriter
    ) -> None:
        self._fleet_now = fleet_now
        self._attempts = attempts
        self._ledger = ledger

    async def answer(
        self, request_id: RequestId, request: ChatRequest, account: Account
    ) -> AsyncGenerator[Progress, None]:
        """Yield what is the client's, as soon as it is.

        Before the first yield nothing is committed, and an error raised is the request's answer;
        after it, an error breaks the answer off. Closing the generator, as on a client's
        disconnect, closes the upstream's connection and settles what was used.
        """
        self._ledger.refuse_when_full()
        chosen = plan(request, account, self._fleet_now())
        failure: UpstreamError | None = None
        attempts_made = 0
        for position, stage in enumerate(chosen.stages):
            strip_logprobs = adds_logprobs(request, stage.acceptance)
            for deployment in stage.deployments:
                attempts_made += 1
                call = call_for(request, deployment, stage.acceptance)
                attempt = self._attempts.begin(request_id, request, account, deployment, position)
                try:
                    async with aclosing(_good_enough(attempt, call, stage.acceptance)) as answer:
                        async for events in answer:
                            yield Progress(events, stage.model, attempts_made, strip_logprobs)
                except UpstreamError as error:
                    if attempt.is_committed or not error.another_may_do:
                        raise
                    failure = error
                    continue
                if attempt.is_committed:
                    return
                break
        raise failure or NothingAlive("No stage of the plan gave an answer.")


async def _good_enough(
    attempt: Attempt, call: Call, acceptance: Acceptance
) -> AsyncGenerator[Events, None]:
    """Yield an attempt's events once they are good enough; nothing when they are not."""
    evidence = Evidence()
    held: Events = ()
    with attempt:
        async with aclosing(attempt.events(call)) as stream:
            async for events in stream:
                if attempt.is_committed:
                    yield events
                    continue
                held += events
                evidence = evidence.with_events(events)
                verdict = consider(acceptance, evidence, ended=False)
                if verdict is Verdict.RISE:
                    attempt.outdo()
                    return
                if verdict is Verdict.COMMIT:
                    attempt.commit()
                    yield held
        if not attempt.is_committed:
            if consider(acceptance, evidence, ended=True) is Verdict.RISE:
                attempt.outdo()
                return
            attempt.commit()
            yield held
        attempt.complete()
