"""Settles attempts: what was used, what it cost, one record each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.estimate import estimate_prompt_tokens, estimate_tokens
from ecluse.domain.ledger.pricing import price
from ecluse.domain.values.money import PriceTerms
from ecluse.domain.values.usage import Usage
from ecluse.ports import Upstream
from ecluse.runtime.ledger_writer import LedgerWriter

TOKENIZER_PATIENCE_S = 2.0


class Uncounted(msgspec.Struct, frozen=True):
    """An attempt whose upstream reported no usage: the texts to count instead."""

    upstream: Upstream
    upstream_model: str
    prompt_texts: tuple[str, ...]
    answer_text: str


class Settlement:
    """Turns ended attempts into records and hands them to the ledger's writer.

    With reported usage this happens at once. Without, the engine's tokenizer is asked in the
    background, and where it cannot answer the tokens are estimated and marked so.
    """

    def __init__(self, writer: LedgerWriter, observe: Callable[[AttemptRecord], None]) -> None:
        self._writer = writer
        self._observe = observe
        self._counting: set[asyncio.Task[None]] = set()

    def settle(
        self, record: AttemptRecord, terms: PriceTerms | None, uncounted: Uncounted | None = None
    ) -> None:
        """Book an attempt; never waits."""
        if uncounted is None:
            self._book(record, terms)
            return
        task = asyncio.create_task(self._count_and_book(record, terms, uncounted))
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)

    async def close(self) -> None:
        """Wait for what is being counted."""
        while self._counting:
            await asyncio.wait(self._counting)

    def _book(self, record: AttemptRecord, terms: PriceTerms | None) -> None:
        record = msgspec.structs.replace(record, price=price(record.usage, terms))
        self._writer.put(record)
        self._observe(record)

    async def _count_and_book(
        self, record: AttemptRecord, terms: PriceTerms | None, uncounted: Uncounted
    ) -> None:
        usage = _estimated(uncounted)
        try:
            async with asyncio.timeout(TOKENIZER_PATIENCE_S):
                usage = await _counted(uncounted) or usage
        except TimeoutError:
            pass
        finally:
            self._book(msgspec.structs.replace(record, usage=usage), terms)


async def _counted(uncounted: Uncounted) -> Usage | None:
    count, model = uncounted.upstream.count_tokens, uncounted.upstream_model
    completion = await count(model, uncounted.answer_text) if uncounted.answer_text else 0
    prompt = await count(model, "\n".join(uncounted.prompt_texts))
    if prompt is None or completion is None:
        return None
    return Usage(max(1, prompt), completion, source="tokenizer")


def _estimated(uncounted: Uncounted) -> Usage:
    return Usage(
        estimate_prompt_tokens(uncounted.prompt_texts),
        estimate_tokens(uncounted.answer_text),
        source="estimate",
    )
