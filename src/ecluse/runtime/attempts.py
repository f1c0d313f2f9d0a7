"""One call of one deployment, watched over and counted whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

import msgspec

from ecluse.domain.catalog.deployments import Deployment
from ecluse.domain.catalog.model_names import is_same_model
from ecluse.domain.errors import DeadlinePassed, EcluseError, UpstreamGarbage, UpstreamSilent
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.routing.course import Turn
from ecluse.domain.values.account import Account
from ecluse.domain.values.answer import Events, Outcome
from ecluse.domain.values.identifiers import RANDOM_BYTES, AttemptId, RequestId, uuid7
from ecluse.domain.values.request import Call, ChatRequest
from ecluse.domain.values.usage import Usage
from ecluse.ports import Clock, Upstream
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.settlement import Settlement, Uncounted

logger = logging.getLogger(__name__)

NOTHING_USED = Usage(0, 0)
US_PER_S = 1_000_000
ANSWER_BYTES_AT_MOST = 64 * 1024 * 1024
"""A stream that goes on beyond this has no end."""


class Asked(msgspec.Struct):
    """A request under way; ``attempts`` counts those made for it."""

    request_id: RequestId
    request: ChatRequest
    account: Account
    began_ns: int
    attempts: int = 0


class Attempts:
    """Begins attempts for requests; ``breakers`` are told how each one did.

    A deployment that answers under another model's name is told of in the log, once: it may be an
    alias, or a server that gives something else than what it was asked for.
    """

    def __init__(
        self,
        upstream_named: Callable[[str], Upstream],
        settlement: Settlement,
        clock: Clock,
        breakers: Breakers,
    ) -> None:
        self.upstream_named = upstream_named
        self.settlement = settlement
        self.clock = clock
        self.breakers = breakers
        self._other_names: set[str] = set()

    def prepare(self, asked: Asked, turn: Turn, call: Call) -> Attempt:
        """Make an attempt; nothing is sent until it is begun."""
        asked.attempts += 1
        return Attempt(self, asked, turn, call)

    def note_name(self, deployment: Deployment, told: str) -> None:
        """Take note of the name that a deployment gave itself in an answer."""
        asked = deployment.offer.upstream_model
        if is_same_model(asked, told) or deployment.name in self._other_names:
            return
        self._other_names.add(deployment.name)
        logger.warning("%s was asked for %r and answers as %r", deployment.name, asked, told[:200])

    async def count_tokens(self, deployment: Deployment, text: str) -> int | None:
        """A text's tokens by the deployment's own tokenizer; None where it has none."""
        upstream = self.upstream_named(deployment.upstream)
        return await upstream.count_tokens(deployment.offer.upstream_model, text)


class Attempt:
    """A context manager around one call that was begun: on leaving, its connection is closed and
    it is settled.

    The outcome is ABANDONED until ``complete``, ``outdo`` or ``outrun`` says otherwise; an error
    that passes through makes it FAILED.
    """

    def __init__(self, around: Attempts, asked: Asked, turn: Turn, call: Call) -> None:
        self._around = around
        self._asked = asked
        self._turn = turn
        self._deployment = turn.deployment
        self._upstream = around.upstream_named(turn.deployment.upstream)
        self._call = call
        self._clock = around.clock
        self._outcome = Outcome.ABANDONED
        self._error: EcluseError | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._texts: list[str] = []
        self._bytes = 0
        self._first: Events = ()
        self._first_event_us: int | None = None
        self._until_s = 0.0

    @property
    def turn(self) -> Turn:
        """Whose answer this is."""
        return self._turn

    def complete(self) -> None:
        """The whole answer is the client's."""
        self._outcome = Outcome.ANSWERED

    def outdo(self) -> None:
        """The answer was not good enough; a larger model is asked."""
        self._outcome = Outcome.OUTDONE

    def outrun(self) -> None:
        """Another attempt began sooner."""
        self._outcome = Outcome.OUTRUN

    async def begin(self) -> None:
        """Call the upstream and wait for its first events; if that fails, the attempt is over.

        Raises UpstreamError or DeadlinePassed.
        """
        self._started_at_us = self._clock.unix_us()
        self._started_ns = self._clock.monotonic_ns()
        self._until_s = asyncio.get_running_loop().time() + self._first_wait_s()
        self._stream = self._upstream.attempt(self._call)
        try:
            self._first = await self._next()
        except BaseException as error:
            await self.end(error)
            raise
        self._first_event_us = self._elapsed_us()
        self._around.breakers.began(self._deployment)
        told = self._first[0].model if self._first else None
        if told is not None and told != self._call.model:
            self._around.note_name(self._deployment, told)

    async def next(self) -> Events:
        """The next events, from the first ones on; () at the end. Raises UpstreamError."""
        if self._first:
            first, self._first = self._first, ()
            return first
        return await self._next()

    async def end(self, error: BaseException | None = None) -> None:
        """Close the connection and settle, with the error that ended it."""
        try:
            await self._stream.aclose()
        finally:
            if isinstance(error, Exception):  # neither cancelled nor closed
                self._outcome = Outcome.FAILED
                self._error = error if isinstance(error, EcluseError) else EcluseError("a bug")
            if self._error is not None or self._first_event_us is not None:
                self._around.breakers.ended(self._deployment, self._error)
            self._settle()

    async def __aenter__(self) -> Attempt:
        return self

    async def __aexit__(
        self, _: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end(error)

    async def _next(self) -> Events:
        """The next events, () at the end, before patience is over."""
        try:
            async with asyncio.timeout_at(self._until_s):
                events = await anext(self._stream)
        except StopAsyncIteration:
            return ()
        except TimeoutError as error:
            raise self._late() from error
        self._note(events)
        return events

    def _note(self, events: Events) -> None:
        said = False
        for event in events:
            self._bytes += len(event.raw)
            if event.usage is not None:
                self._usage = event.usage
                said = True
            for piece in event.choices:
                if piece.text:
                    self._texts.append(piece.text)
                    said = True
                if piece.finish_reason is not None:
                    self._finish_reason = piece.finish_reason
                    said = True
        if self._bytes > ANSWER_BYTES_AT_MOST:
            raise UpstreamGarbage(
                f"The answer of {self._deployment.name} has no end: it is over "
                f"{ANSWER_BYTES_AT_MOST} bytes.",
                next_step="Send max_tokens.",
            )
        if said:
            patience = self._deployment.patience
            self._until_s = asyncio.get_running_loop().time() + patience.between_tokens_s

    def _first_wait_s(self) -> float:
        patience = self._deployment.patience
        wait_s = patience.first_token_s if self._call.stream else patience.whole_answer_s
        answer_by_us = self._asked.request.answer_by_us
        if answer_by_us is None:
            return wait_s
        return min(wait_s, (answer_by_us - self._clock.unix_us()) / US_PER_S)

    def _late(self) -> EcluseError:
        answer_by_us = self._asked.request.answer_by_us
        if not self._texts and answer_by_us is not None and self._clock.unix_us() >= answer_by_us:
            return DeadlinePassed("The answer had not begun by the deadline of the request.")
        return UpstreamSilent(
            f"{self._deployment.name} sent no token for too long.",
            next_step="Ask again, or raise its first_token_seconds or between_tokens_seconds in "
            "the configuration.",
        )

    def _elapsed_us(self) -> int:
        return (self._clock.monotonic_ns() - self._started_ns) // 1_000

    def _settle(self) -> None:
        asked = self._asked
        record = AttemptRecord(
            attempt_id=AttemptId(
                uuid7(self._started_at_us // 1_000, self._clock.random_bytes(RANDOM_BYTES))
            ),
            request_id=asked.request_id,
            key_id=asked.account.key_id,
            route=asked.request.route,
            model=self._deployment.model,
            deployment=self._deployment.name,
            stage=self._turn.position,
            streamed=asked.request.stream,
            started_at_us=self._started_at_us,
            first_event_us=self._first_event_us,
            duration_us=self._elapsed_us(),
            outcome=self._outcome,
            finish_reason=self._finish_reason,
            error_code=None if self._error is None else self._error.code,
            usage=self._usage or NOTHING_USED,
            price=None,
        )
        self._around.settlement.settle(record, self._deployment.price, self._uncounted())

    def _uncounted(self) -> Uncounted | None:
        """What is left to count: nothing when usage was reported, or the prompt was never read."""
        if self._usage is not None:
            return None
        if self._first_event_us is None and self._error and not self._error.prompt_was_read:
            return None
        return Uncounted(
            self._upstream,
            self._deployment.offer.upstream_model,
            self._call.texts,
            "".join(self._texts),
        )
