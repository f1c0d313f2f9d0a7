"""One call of one deployment, counted whatever becomes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from ecluse.domain.catalog.deployments import Deployment
from ecluse.domain.errors import EcluseError
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.account import Account
from ecluse.domain.values.answer import Events, Outcome
from ecluse.domain.values.identifiers import RANDOM_BYTES, AttemptId, RequestId, uuid7
from ecluse.domain.values.request import Call, ChatRequest
from ecluse.domain.values.usage import Usage
from ecluse.ports import Clock, Upstream
from ecluse.runtime.settlement import Settlement, Uncounted

NOTHING_USED = Usage(0, 0)


class Attempts:
    """Begins attempts for requests."""

    def __init__(
        self, upstream_named: Callable[[str], Upstream], settlement: Settlement, clock: Clock
    ) -> None:
        self._upstream_named = upstream_named
        self._settlement = settlement
        self._clock = clock

    def begin(
        self,
        request_id: RequestId,
        request: ChatRequest,
        account: Account,
        deployment: Deployment,
        stage: int,
    ) -> Attempt:
        """Prepare an attempt; nothing is sent until its events are read."""
        upstream = self._upstream_named(deployment.upstream)
        return Attempt(
            request_id, request, account, deployment, stage, upstream, self._settlement, self._clock
        )


class Attempt:
    """A context manager around one call: on leaving, the attempt is settled.

    The outcome is ABANDONED until ``complete`` or ``outdo`` says otherwise; an error that passes
    through makes it FAILED.
    """

    def __init__(
        self,
        request_id: RequestId,
        request: ChatRequest,
        account: Account,
        deployment: Deployment,
        stage: int,
        upstream: Upstream,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        self._request_id = request_id
        self._request = request
        self._account = account
        self._deployment = deployment
        self._stage = stage
        self._upstream = upstream
        self._settlement = settlement
        self._clock = clock
        self._outcome = Outcome.ABANDONED
        self._committed = False
        self._error_code: str | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._texts: list[str] = []
        self._first_event_us: int | None = None

    def __enter__(self) -> Attempt:
        self._started_at_us = self._clock.unix_us()
        self._started_ns = self._clock.monotonic_ns()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):  # neither cancelled nor closed
            self._outcome = Outcome.FAILED
            self._error_code = (error if isinstance(error, EcluseError) else EcluseError).code
        self._settle()

    @property
    def is_committed(self) -> bool:
        """Whether any of its events is the client's."""
        return self._committed

    def commit(self) -> None:
        """Its events are the client's from now on."""
        self._committed = True

    def complete(self) -> None:
        """The whole answer is the client's."""
        self._outcome = Outcome.ANSWERED

    def outdo(self) -> None:
        """The answer was not good enough; a larger model is asked."""
        self._outcome = Outcome.OUTDONE

    async def events(self, call: Call) -> AsyncGenerator[Events, None]:
        """Call the upstream and take note of what decides the account."""
        stream = self._upstream.attempt(call)
        try:
            async for events in stream:
                if self._first_event_us is None:
                    self._first_event_us = self._elapsed_us()
                self._note(events)
                yield events
        finally:
            await stream.aclose()

    def _note(self, events: Events) -> None:
        for event in events:
            if event.usage is not None:
                self._usage = event.usage
            for piece in event.choices:
                if piece.text:
                    self._texts.append(piece.text)
                if piece.finish_reason is not None:
                    self._finish_reason = piece.finish_reason

    def _elapsed_us(self) -> int:
        return (self._clock.monotonic_ns() - self._started_ns) // 1_000

    def _settle(self) -> None:
        record = AttemptRecord(
            attempt_id=AttemptId(
                uuid7(self._started_at_us // 1_000, self._clock.random_bytes(RANDOM_BYTES))
            ),
            request_id=self._request_id,
            key_id=self._account.key_id,
            route=self._request.route,
            model=self._deployment.model,
            deployment=self._deployment.name,
            stage=self._stage,
            streamed=self._request.stream,
            started_at_us=self._started_at_us,
            first_event_us=self._first_event_us,
            duration_us=self._elapsed_us(),
            outcome=self._outcome,
            finish_reason=self._finish_reason,
            error_code=self._error_code,
            usage=self._usage or NOTHING_USED,
            price=None,
        )
        self._settlement.settle(record, self._deployment.price, self._uncounted())

    def _uncounted(self) -> Uncounted | None:
        """What is left to count: nothing when usage was reported or the call never got through."""
        never_began = self._outcome is Outcome.FAILED and self._first_event_us is None
        if self._usage is not None or never_began:
            return None
        return Uncounted(
            self._upstream,
            self._deployment.offer.upstream_model,
            self._request.texts,
            "".join(self._texts),
        )
