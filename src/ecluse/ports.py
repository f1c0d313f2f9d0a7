"""The seams: one narrow Protocol per outside thing.

Every real adapter and every fake of a port passes the same contract suite.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.usage_report import UsageLine, UsageQuery
from ecluse.domain.values.answer import Events
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import StoredKey
from ecluse.domain.values.request import Call


class Upstream(Protocol):
    """Something that answers."""

    async def offers(self) -> Sequence[Offer]:
        """What it serves now. Raises UpstreamError when it cannot be asked."""
        ...

    def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """Ask once. Yields the events as they arrive; returning means the answer is whole.

        Not streamed, the answer is one event. A stream that ends without a terminal
        ``finish_reason`` raises UpstreamTruncated. Closing the generator closes the connection.
        Raises UpstreamError.
        """
        ...

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Count a text's tokens with the engine's own tokenizer; None where there is none."""
        ...

    async def close(self) -> None:
        """Give back connections and processes."""
        ...


class Keys(Protocol):
    """Keys at rest, hashed."""

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises InvalidRequest where its id is taken."""
        ...

    async def all(self) -> Sequence[StoredKey]:
        """Every key, revoked and expired ones included, oldest first."""
        ...

    async def revoke(self, key_id: KeyId, at_s: int) -> bool:
        """Mark a key as revoked at a Unix time; an earlier revocation stands.

        False where there is no such key.
        """
        ...

    async def revision(self) -> int:
        """A number that grows with every change, cheap to ask."""
        ...


class Ledger(Protocol):
    """The attempts' append-only table."""

    async def append(self, records: Sequence[AttemptRecord]) -> None:
        """Write records in one transaction; one whose id is there already stays as it is.

        So a batch whose fate is in doubt may be sent again.
        """
        ...

    async def usage(self, query: UsageQuery) -> Sequence[UsageLine]:
        """Sum attempts, one line a group, in the groups' order."""
        ...


class Clock(Protocol):
    """Time and randomness, so that tests may hold them still."""

    def unix_us(self) -> int:
        """Unix time in microseconds."""
        ...

    def monotonic_ns(self) -> int:
        """A clock that never goes back, in nanoseconds."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Unpredictable bytes."""
        ...
