"""Hedging: whoever begins first answers, and whatever becomes of the other one is settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.house import ACCOUNT, AWAY, BROKE_OFF, Ticking, asked
from tests.support.virtual_time import VirtualTimeLoop

from ecluse.adapters.store.memory import MemoryLedger
from ecluse.domain.catalog.deployments import Acceptance, Deployment, Offer
from ecluse.domain.errors import EcluseError, UpstreamError
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.routing.course import Turn
from ecluse.domain.routing.plan import PlannedStage
from ecluse.domain.values.answer import ChoicePiece, Event, Events, Outcome
from ecluse.domain.values.identifiers import RequestId
from ecluse.domain.values.request import Call
from ecluse.runtime.attempts import Asked, Attempt, Attempts
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.ledger_writer import LedgerWriter
from ecluse.runtime.race import first_to_begin
from ecluse.runtime.settlement import Settlement

AGES_S = 60.0
WORD: Events = (Event(b"{}", (ChoicePiece(0, "word", "word"),)),)


class Runner:
    """An upstream that begins or fails after ``begin_s``; closing its connection takes
    ``close_s``.
    """

    def __init__(
        self, begin_s: float, failure: Exception | None = None, close_s: float = 0.0
    ) -> None:
        self.begin_s = begin_s
        self.failure = failure
        self.close_s = close_s
        self.calls = 0
        self.open_attempts = 0

    @property
    def over_s(self) -> float:
        """How long until it has begun or failed."""
        return self.begin_s if self.failure is None else self.begin_s + self.close_s

    async def offers(self) -> Sequence[Offer]:
        """See Upstream.offers."""
        return ()

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """See Upstream.attempt."""
        self.calls += 1
        self.open_attempts += 1
        try:
            await asyncio.sleep(self.begin_s)
            if self.failure is not None:
                raise self.failure
            yield WORD
            await asyncio.sleep(AGES_S)
        finally:
            try:
                if self.close_s:
                    await asyncio.sleep(self.close_s)
            finally:
                self.open_attempts -= 1

    async def count_tokens(self, model: str, text: str) -> int | None:
        """See Upstream.count_tokens."""
        return 1

    async def close(self) -> None:
        """See Upstream.close."""


class Listening(Breakers):
    """Breakers that keep what they were told of ends."""

    def __init__(self, heard: list[tuple[str, object]]) -> None:
        super().__init__(Ticking())
        self._heard = heard

    def ended(self, deployment: Deployment, error: EcluseError | None) -> None:
        """Keep it."""
        self._heard.append((deployment.upstream, error))


class Track:
    """A race of two runners, named ``lead`` and ``backup``."""

    def __init__(self, lead: Runner, backup: Runner | None = None) -> None:
        self.runners = {"lead": lead} | ({} if backup is None else {"backup": backup})
        self.asked = Asked(RequestId("r"), asked(), ACCOUNT, 0)
        self.heard: list[tuple[str, object]] = []
        self.hedges = 0
        self._ledger = MemoryLedger()
        self._writer = LedgerWriter(self._ledger)
        self._settlement = Settlement(self._writer, lambda _: None)
        self._attempts = Attempts(
            self.runners.__getitem__,
            self._settlement,
            Ticking(),
            Listening(self.heard),
        )

    async def run(self, after_s: float | None) -> str:
        """Race, and leave whoever has won; tell who."""
        winner = await first_to_begin(self._attempt("lead"), self._backup, after_s)
        async with winner:
            assert await winner.next() == WORD
            winner.complete()
        return winner.turn.deployment.upstream

    async def outcomes(self) -> dict[str, Outcome]:
        """What was settled, each attempt once; nothing is open or under way any more."""
        assert [runner.open_attempts for runner in self.runners.values()] == [0] * len(self.runners)
        await self._settlement.close()
        self._writer.start()
        await self._writer.close()
        records: list[AttemptRecord] = list(self._ledger.records.values())
        assert len(records) == sum(runner.calls for runner in self.runners.values())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return {record.deployment: record.outcome for record in records}

    def _backup(self) -> Attempt | None:
        self.hedges += 1
        return self._attempt("backup") if "backup" in self.runners else None

    def _attempt(self, name: str) -> Attempt:
        deployment = Deployment(name, "m", name, name, Offer("m"))
        turn = Turn(0, PlannedStage("m", (deployment,), Acceptance()), deployment)
        return self._attempts.prepare(self.asked, turn, Call("m", b"{}", stream=True))


async def raced(track: Track, after_s: float | None) -> str | BaseException:
    """Who won, or what came of it."""
    try:
        return await track.run(after_s)
    except (UpstreamError, asyncio.CancelledError, RuntimeError) as error:
        return error


@pytest.mark.parametrize("after_s", [None, 5.0])
async def test_a_prompt_lead_runs_alone(after_s: float | None) -> None:
    """Nobody else is asked."""
    track = Track(Runner(1), Runner(1))
    assert await track.run(after_s) == "lead"
    assert track.hedges == 0
    assert track.asked.attempts == 1
    assert await track.outcomes() == {"lead": Outcome.ANSWERED}


async def test_without_hedges_a_slow_lead_is_waited_for() -> None:
    """However long it takes."""
    track = Track(Runner(50), Runner(0))
    assert await track.run(None) == "lead"
    assert await track.outcomes() == {"lead": Outcome.ANSWERED}


async def test_a_slow_lead_is_outrun() -> None:
    """Its connection is closed, and it is settled as such: a slow one has not failed."""
    track = Track(Runner(50), Runner(2))
    loop = asyncio.get_running_loop()
    assert await track.run(5) == "backup"
    assert loop.time() == pytest.approx(7)
    assert track.runners["lead"].open_attempts == 0
    assert ("lead", None) not in track.heard
    assert await track.outcomes() == {"lead": Outcome.OUTRUN, "backup": Outcome.ANSWERED}


async def test_a_slow_backup_is_outrun() -> None:
    """The lead began after all."""
    track = Track(Runner(6), Runner(50))
    assert await track.run(5) == "lead"
    assert await track.outcomes() == {"lead": Outcome.ANSWERED, "backup": Outcome.OUTRUN}


async def test_where_there_is_no_backup_the_lead_is_waited_for() -> None:
    """And nobody is looked for a second time."""
    track = Track(Runner(50))
    assert await track.run(5) == "lead"
    assert track.hedges == 1
    assert await track.outcomes() == {"lead": Outcome.ANSWERED}


async def test_both_begin_in_the_same_moment() -> None:
    """One answers, the other one is closed and settled as outrun."""
    track = Track(Runner(7), Runner(2))
    winner = await track.run(5)
    (loser,) = {"lead", "backup"} - {winner}
    assert await track.outcomes() == {winner: Outcome.ANSWERED, loser: Outcome.OUTRUN}


@pytest.mark.parametrize("begin_s", [0.0, 6.0])
@pytest.mark.parametrize("failure", [AWAY, RuntimeError("a bug")])
async def test_a_failing_lead_and_a_good_backup(begin_s: float, failure: Exception) -> None:
    """Before the backup was asked it is the caller's to ask another; after it, the backup wins."""
    track = Track(Runner(begin_s, failure), Runner(20))
    result = await raced(track, 5)
    assert result == ("backup" if begin_s > 5 else failure)
    expected = {"lead": Outcome.FAILED} | ({"backup": Outcome.ANSWERED} if begin_s > 5 else {})
    assert await track.outcomes() == expected
    assert track.heard[0][0] == "lead"
    assert track.heard[0][1] is not None


async def test_a_failing_backup_leaves_the_lead_running() -> None:
    """It may still begin."""
    track = Track(Runner(20), Runner(1, AWAY))
    assert await track.run(5) == "lead"
    assert await track.outcomes() == {"lead": Outcome.ANSWERED, "backup": Outcome.FAILED}


@pytest.mark.parametrize(("lead_s", "error"), [(20, AWAY), (6.5, BROKE_OFF), (7, None)])
async def test_both_fail(lead_s: float, error: UpstreamError | None) -> None:
    """What the last one failed of is told; at the same moment, either."""
    track = Track(Runner(lead_s, AWAY), Runner(2, BROKE_OFF))
    assert await raced(track, 5) in ([error] if error else [AWAY, BROKE_OFF])
    assert await track.outcomes() == {"lead": Outcome.FAILED, "backup": Outcome.FAILED}


@pytest.mark.parametrize(
    ("cancel_s", "settled"),
    [
        (0.0, {}),
        (1.0, {"lead": Outcome.ABANDONED}),
        (5.0, {"lead": Outcome.ABANDONED}),
        (6.0, {"lead": Outcome.ABANDONED, "backup": Outcome.ABANDONED}),
        (8.0, {"lead": Outcome.OUTRUN, "backup": Outcome.ABANDONED}),
    ],
)
async def test_a_client_that_leaves(cancel_s: float, settled: dict[str, Outcome]) -> None:
    """Alone, as the backup starts, beside it, while the one that was outrun is closed."""
    track = Track(Runner(50, close_s=3), Runner(2))
    racing = asyncio.ensure_future(raced(track, 5))
    if cancel_s:
        await asyncio.sleep(cancel_s)
    racing.cancel()
    await asyncio.wait((racing,))
    await asyncio.sleep(10)
    outcomes = await track.outcomes()
    if cancel_s == 5:
        outcomes.pop("backup", None)  # whether it was asked in that moment
    assert outcomes == settled


async def test_a_backup_that_cannot_be_found_loses_nothing() -> None:
    """A bug in looking for one closes the lead."""
    track = Track(Runner(50))

    def broken() -> Attempt | None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await first_to_begin(track._attempt("lead"), broken, 5)
    assert await track.outcomes() == {"lead": Outcome.ABANDONED}


RUNNERS = st.builds(
    Runner,
    st.integers(0, 6),
    st.sampled_from([None, None, None, AWAY, BROKE_OFF, RuntimeError("a bug")]),
    st.sampled_from([0, 2, 5]),
)


@given(
    lead=RUNNERS,
    backup=st.none() | RUNNERS,
    after_s=st.none() | st.integers(0, 3) | st.integers(0, 3),
    cancels=st.lists(st.integers(0, 12), max_size=2).map(sorted),
)
@settings(max_examples=300)
def test_however_it_ends_all_is_closed_and_settled(
    lead: Runner, backup: Runner | None, after_s: float | None, cancels: list[int]
) -> None:
    """Whoever begins, fails, closes and is cancelled when: no attempt stays open, each is settled
    once, and without a cancellation the first one to begin has won.
    """

    async def go() -> Any:
        track = Track(lead, backup)
        racing = asyncio.ensure_future(raced(track, after_s))
        passed = 0
        for cancel_s in cancels:
            await asyncio.sleep(cancel_s - passed)
            passed = cancel_s
            racing.cancel()
        result = await racing if not racing.cancelled() and not cancels else None
        await asyncio.wait((racing,))
        await asyncio.sleep(AGES_S / 2)
        outcomes = await track.outcomes()
        if not cancels:
            assert_right(result, lead, backup, after_s)
            won = [name for name, outcome in outcomes.items() if outcome is Outcome.ANSWERED]
            assert won == ([result] if isinstance(result, str) else [])
            assert Outcome.ABANDONED not in outcomes.values()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        loop.run(go())


def assert_right(
    result: object, lead: Runner, backup: Runner | None, after_s: float | None
) -> None:
    """The first to begin has won; where none begins, the last failure is told."""
    over = {"lead": lead.over_s}
    if backup is not None and backup.calls:
        assert after_s is not None
        assert lead.over_s >= after_s, "the lead was slow"
        over["backup"] = after_s + backup.over_s
    elif backup is not None and after_s is not None:
        assert lead.over_s <= after_s, "a slow lead is hedged"
    runners = {"lead": lead, "backup": backup}
    begun = {
        name: at
        for name, at in over.items()
        if (runner := runners[name]) is not None and runner.failure is None
    }
    if begun:
        assert result in [name for name, at in begun.items() if at == min(begun.values())]
    else:
        failures = [
            runner.failure
            for name, at in over.items()
            if (runner := runners[name]) is not None and at == max(over.values())
        ]
        assert result in failures
