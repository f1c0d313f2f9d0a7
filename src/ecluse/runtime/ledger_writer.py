"""Writes settled attempts in batches, off the path of requests."""

from __future__ import annotations

import asyncio
import logging

from ecluse.domain.errors import CannotCount
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.ports import Ledger

logger = logging.getLogger(__name__)

BATCH_EVERY_S = 0.1
"""How long a settled attempt waits for others to be written with it.

What a crash may lose is in docs/request-lifecycle.md.
"""
BATCH_RECORDS = 2_000
WAITING_RECORDS_AT_MOST = 100_000
RETRY_S = 1.0
RETRY_AFTER_S = 30


class LedgerWriter:
    """Queues records and appends them in the order they were settled.

    When the store fails, records are kept and tried again. Once ``waiting_at_most`` are waiting,
    no new request is taken: nothing goes uncounted.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        every_s: float = BATCH_EVERY_S,
        retry_s: float = RETRY_S,
        waiting_at_most: int = WAITING_RECORDS_AT_MOST,
    ) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._retry_s = retry_s
        self._waiting_at_most = waiting_at_most
        self._waiting: list[AttemptRecord] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Records not yet written."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the store has failed for so long that no more may be queued."""
        return len(self._waiting) >= self._waiting_at_most

    def refuse_when_full(self) -> None:
        """Raise CannotCount when what a new request uses could not be accounted for."""
        if self.is_full:
            raise CannotCount(
                "The gateway cannot write its ledger and takes no request until it can.",
                next_step="Whoever runs it should look at its log and its disk.",
                retry_after_s=RETRY_AFTER_S,
            )

    def start(self) -> None:
        """Begin writing."""
        self._task = asyncio.create_task(self._write_for_ever(), name="ledger-writer")

    def put(self, record: AttemptRecord) -> None:
        """Queue a record; never waits."""
        self._waiting.append(record)
        if len(self._waiting) == 1:
            self._arrived.set()

    async def close(self, patience_s: float = 5.0) -> None:
        """Write what is waiting, then stop; gives up after ``patience_s`` of a failing store."""
        self._closing = True
        self._arrived.set()
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._task, patience_s)
        except TimeoutError:
            logger.error("the store failed: %d attempts are lost to the ledger", self.waiting)

    async def _write_for_ever(self) -> None:
        while not (self._closing and not self._waiting):
            await self._arrived.wait()
            if not self._closing:
                await asyncio.sleep(self._every_s)
            # What arrives while this is written waits for the next time: few, full batches.
            for _ in range(0, len(self._waiting), BATCH_RECORDS):
                batch = self._waiting[:BATCH_RECORDS]
                await self._append(batch)
                del self._waiting[: len(batch)]
            if not self._waiting and not self._closing:
                self._arrived.clear()

    async def _append(self, batch: list[AttemptRecord]) -> None:
        while True:
            try:
                await self._ledger.append(batch)
            except Exception as error:
                logger.error("the store failed, %d attempts wait: %s", self.waiting, error)
                await asyncio.sleep(self._retry_s)
            else:
                return
