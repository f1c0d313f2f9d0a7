"""Settlement: every attempt once, with the tokens it used and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from ecluse.adapters.store.memory import MemoryLedger
from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Events, Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.money import Money, PriceTerms
from ecluse.domain.values.request import Call
from ecluse.domain.values.usage import Usage
from ecluse.runtime.ledger_writer import LedgerWriter
from ecluse.runtime.settlement import TOKENIZER_PATIENCE_S, Settlement, Uncounted

TERMS = PriceTerms("EUR", prompt_nano=1_000_000, completion_nano=2_000_000, cached_nano=0)
RECORD = AttemptRecord(
    attempt_id=AttemptId("a"),
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
    usage=Usage(0, 0),
    price=None,
)


class Counter:
    """An upstream that is asked for nothing but counts; None counts nothing, an error is raised."""

    def __init__(self, *counts: int | Exception | None, wait_s: float = 0.0) -> None:
        self._counts = list(counts)
        self._wait_s = wait_s
        self.counted: list[tuple[str, str]] = []

    async def offers(self) -> Sequence[Offer]:
        """Nothing."""
        return ()

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """Nothing."""
        for _ in ():
            yield _

    async def count_tokens(self, model: str, text: str) -> int | None:
        """The next of the given counts."""
        await asyncio.sleep(self._wait_s)
        self.counted.append((model, text))
        count = self._counts.pop(0)
        if isinstance(count, Exception):
            raise count
        return count

    async def close(self) -> None:
        """Nothing."""


class Books:
    """A settlement with what it books."""

    def __init__(self) -> None:
        self.observed: list[AttemptRecord] = []
        self.ledger = MemoryLedger()
        self.writer = LedgerWriter(self.ledger, every_s=0.001)
        self.settlement = Settlement(self.writer, self.observed.append)

    async def booked(self) -> list[AttemptRecord]:
        """Close in the application's order, and show what is in the ledger."""
        self.writer.start()
        await self.settlement.close()
        await self.writer.close()
        records = list(self.ledger.records.values())
        assert records == self.observed
        return records


def uncounted(upstream: Counter, *prompt: str, answer: str = "an answer of words") -> Uncounted:
    """Texts whose tokens nobody reported."""
    return Uncounted(upstream, "theirs", prompt, answer)


async def test_reported_usage_is_booked_at_once() -> None:
    """With its price; unknown terms have no price."""
    books = Books()
    books.settlement.settle(msgspec.structs.replace(RECORD, usage=Usage(10, 5, 4)), TERMS)
    (record,) = books.observed
    assert record.usage == Usage(10, 5, 4)
    assert record.price == Money(16, "EUR")
    other = msgspec.structs.replace(RECORD, attempt_id=AttemptId("b"))
    books.settlement.settle(other, None)
    assert [record.price for record in await books.booked()] == [Money(16, "EUR"), None]


async def test_the_tokenizer_counts_what_nobody_reported() -> None:
    """Prompt and answer with the upstream's own name for the model, and the price of that."""
    books, upstream = Books(), Counter(7, 11)
    books.settlement.settle(RECORD, TERMS, uncounted(upstream, "one", "two"))
    assert not books.observed, "settling never waits"
    (record,) = await books.booked()
    assert upstream.counted == [("theirs", "an answer of words"), ("theirs", "one\ntwo")]
    assert record.usage == Usage(11, 7, source="tokenizer")
    assert record.price == Money(25, "EUR")


async def test_no_answer_is_not_counted() -> None:
    """An attempt that was left before its first token used its prompt."""
    books, upstream = Books(), Counter(11)
    books.settlement.settle(RECORD, TERMS, uncounted(upstream, "one", answer=""))
    (record,) = await books.booked()
    assert record.usage == Usage(11, 0, source="tokenizer")


async def test_a_prompt_is_never_free() -> None:
    """Not even one that a tokenizer counts as nothing: one of images only."""
    books = Books()
    books.settlement.settle(RECORD, TERMS, uncounted(Counter(0), answer=""))
    (record,) = await books.booked()
    assert record.usage.prompt_tokens == 1
    assert record.price == Money(1, "EUR")


@pytest.mark.parametrize("counts", [(None, 5), (5, None)])
async def test_without_a_tokenizer_it_is_estimated(counts: tuple[int | None, ...]) -> None:
    """And marked so: half a count is none."""
    books = Books()
    books.settlement.settle(RECORD, TERMS, uncounted(Counter(*counts), "a prompt"))
    (record,) = await books.booked()
    assert record.usage == Usage(6, 5, source="estimate")
    assert record.price == Money(16, "EUR")


async def test_a_tokenizer_that_hangs_is_not_waited_for() -> None:
    """After its patience, the estimate stands."""
    books = Books()
    books.settlement.settle(RECORD, TERMS, uncounted(Counter(wait_s=60), "a prompt"))
    (record,) = await books.booked()
    assert 0 <= asyncio.get_running_loop().time() - TOKENIZER_PATIENCE_S < 0.1
    assert record.usage.source == "estimate"


async def test_a_tokenizer_that_breaks_does_no_harm() -> None:
    """Even an error that no upstream should raise leaves the attempt booked."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    books = Books()
    books.settlement.settle(RECORD, TERMS, uncounted(Counter(ZeroDivisionError()), "a prompt"))
    (record,) = await books.booked()
    assert record.usage.source == "estimate"


async def test_a_cancelled_count_is_booked() -> None:
    """When the process is torn down in the middle of a count, the estimate stands."""
    books = Books()
    before = asyncio.all_tasks()
    books.settlement.settle(RECORD, TERMS, uncounted(Counter(wait_s=60), "a prompt"))
    (counting,) = asyncio.all_tasks() - before
    await asyncio.sleep(0)
    counting.cancel()
    (record,) = await books.booked()
    assert record.usage.source == "estimate"


async def test_many_are_counted_at_once() -> None:
    """One slow count does not hold up the others, and closing waits for all."""
    books = Books()
    for number in range(50):
        record = msgspec.structs.replace(RECORD, attempt_id=AttemptId(str(number)))
        books.settlement.settle(record, None, uncounted(Counter(1, 2, wait_s=0.02), "x"))
    records = await books.booked()
    assert asyncio.get_running_loop().time() < 3 * 0.02
    assert len({record.attempt_id for record in records}) == 50
    assert {record.usage.source for record in records} == {"tokenizer"}
