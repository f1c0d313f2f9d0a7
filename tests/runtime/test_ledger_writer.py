"""The ledger's writer: nothing is lost, nothing is written twice, order is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from ecluse.adapters.store.memory import MemoryLedger
from ecluse.domain.errors import CannotCount, StoreFailed
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.usage import Usage
from ecluse.runtime.ledger_writer import BATCH_EVERY_S, BATCH_RECORDS, LedgerWriter

SOON_S = 0.005


def record(number: int) -> AttemptRecord:
    """The record of an attempt, told apart by its id."""
    return AttemptRecord(
        attempt_id=AttemptId(f"{number:08}"),
        request_id=RequestId("r"),
        key_id=KeyId("k"),
        route="auto",
        model="m",
        deployment="here/m",
        stage=0,
        streamed=False,
        started_at_us=0,
        first_event_us=None,
        duration_us=0,
        outcome=Outcome.ANSWERED,
        finish_reason="stop",
        error_code=None,
        usage=Usage(1, 1),
        price=None,
    )


class TroubledLedger(MemoryLedger):
    """Remembers its batches; fails as long as it is told to, before or after it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.failing = False
        self.fails_after_writing = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def append(self, records: Sequence[AttemptRecord]) -> None:
        """Write, fail, or both."""
        self.batches.append(len(records))
        await self.may_go_on.wait()
        if self.failing:
            raise StoreFailed("The disk is full.")
        await super().append(records)
        if self.fails_after_writing:
            self.fails_after_writing = False
            raise StoreFailed("Nobody knows whether it was written.")

    @property
    def numbers(self) -> list[int]:
        """What was written, in the order in which it was."""
        return [int(attempt_id) for attempt_id in self.records]


@asynccontextmanager
async def writing(ledger: TroubledLedger) -> AsyncGenerator[LedgerWriter, None]:
    """A writer in a hurry, closed in the end."""
    writer = LedgerWriter(ledger, every_s=SOON_S, retry_s=SOON_S)
    writer.start()
    yield writer
    await writer.close()


async def written(writer: LedgerWriter) -> None:
    """Until nothing waits."""
    async with asyncio.timeout(2):
        while writer.waiting:  # noqa: ASYNC110 (the writer tells nobody)
            await asyncio.sleep(SOON_S)


async def test_records_are_written_in_batches() -> None:
    """What is settled together is written together, soon, in order, and the next time as well."""
    ledger = TroubledLedger()
    async with writing(ledger) as writer:
        for start in (0, 10):
            for number in range(start, start + 10):
                writer.put(record(number))
            await written(writer)
        assert ledger.batches == [10, 10]
        assert ledger.numbers == list(range(20))
        await asyncio.sleep(5 * SOON_S)
        assert ledger.batches == [10, 10], "nothing is written when nothing waits"


async def test_a_record_waits_no_longer_than_a_batch_takes_to_gather() -> None:
    """What is settled meanwhile is written with the first; an idle writer does not hurry."""
    ledger = TroubledLedger()
    writer = LedgerWriter(ledger)
    writer.start()
    await asyncio.sleep(60)
    for number in range(3):
        writer.put(record(number))
        await asyncio.sleep(BATCH_EVERY_S * 0.4)
    assert ledger.batches == [3]
    await writer.close()


async def test_large_batches_are_split() -> None:
    """A transaction has a bounded length."""
    ledger = TroubledLedger()
    async with writing(ledger) as writer:
        for number in range(2 * BATCH_RECORDS + 1):
            writer.put(record(number))
    assert ledger.batches == [BATCH_RECORDS, BATCH_RECORDS, 1]
    assert ledger.numbers == list(range(2 * BATCH_RECORDS + 1))


async def test_what_arrives_during_a_write_waits_for_the_next() -> None:
    """It is neither lost nor dropped with the batch that was at work."""
    ledger = TroubledLedger()
    async with writing(ledger) as writer:
        ledger.may_go_on.clear()
        writer.put(record(0))
        await asyncio.sleep(4 * SOON_S)
        writer.put(record(1))
        writer.put(record(2))
        ledger.may_go_on.set()
        await written(writer)
    assert ledger.batches == [1, 2]
    assert ledger.numbers == [0, 1, 2]


async def test_trouble_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails for a while gets all of it afterwards, in the order of settling."""
    ledger = TroubledLedger()
    ledger.failing = True
    with caplog.at_level(logging.ERROR):
        async with writing(ledger) as writer:
            for number in range(5):
                writer.put(record(number))
                await asyncio.sleep(2 * SOON_S)
            assert writer.waiting == 5
            assert not ledger.records
            ledger.failing = False
            await written(writer)
            assert ledger.numbers == list(range(5))
    assert "The disk is full" in caplog.text


async def test_a_write_in_doubt_is_repeated() -> None:
    """A batch that failed after it was written is sent again, and counts once."""
    ledger = TroubledLedger()
    ledger.fails_after_writing = True
    async with writing(ledger) as writer:
        writer.put(record(1))
        await written(writer)
    assert ledger.batches == [1, 1]
    assert ledger.numbers == [1]


async def test_a_full_ledger_takes_no_request() -> None:
    """And does again as soon as it can write."""
    ledger = TroubledLedger()
    ledger.failing = True
    writer = LedgerWriter(ledger, every_s=SOON_S, retry_s=SOON_S, waiting_at_most=2)
    writer.start()
    writer.put(record(0))
    writer.refuse_when_full()
    writer.put(record(1))
    with pytest.raises(CannotCount) as caught:
        writer.refuse_when_full()
    assert (caught.value.http_status, caught.value.retry_after_s) == (503, 30)
    writer.put(record(2))  # the attempts that run already are still counted
    ledger.failing = False
    await written(writer)
    writer.refuse_when_full()
    assert ledger.numbers == [0, 1, 2]
    await writer.close()


@pytest.mark.parametrize("pause_s", [0, 2 * SOON_S])
async def test_closing_writes_what_waits(pause_s: float) -> None:
    """Whether the writer slept, waited for a batch's time or was at work."""
    ledger = TroubledLedger()
    async with writing(ledger) as writer:
        await asyncio.sleep(pause_s)
        for number in range(3):
            writer.put(record(number))
            await asyncio.sleep(pause_s)
    assert ledger.numbers == [0, 1, 2]


async def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A store that stays broken is given up, with the number of what is lost."""
    ledger = TroubledLedger()
    ledger.failing = True
    writer = LedgerWriter(ledger, every_s=SOON_S, retry_s=SOON_S)
    writer.start()
    writer.put(record(0))
    with caplog.at_level(logging.ERROR):
        await writer.close(patience_s=0.05)
    assert "1 attempts are lost" in caplog.text


async def test_closing_an_idle_or_unused_writer() -> None:
    """Ends at once."""
    async with asyncio.timeout(1):
        await LedgerWriter(TroubledLedger()).close()
        async with writing(TroubledLedger()):
            await asyncio.sleep(2 * SOON_S)
