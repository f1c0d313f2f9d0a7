"""Keys and ledger in memory: fakes that pass the real ones' contract suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ecluse.domain.errors import InvalidRequest
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.usage_report import Grouping, UsageLine, UsageQuery
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId
from ecluse.domain.values.keys import StoredKey


class MemoryKeys:
    """The Keys port over a dictionary."""

    def __init__(self) -> None:
        self._keys: dict[KeyId, StoredKey] = {}
        self._revision = 0

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises InvalidRequest where its id is taken."""
        if key.key_id in self._keys:
            raise InvalidRequest(f"There is a key {key.key_id} already.")
        self._keys[key.key_id] = key
        self._revision += 1

    async def all(self) -> Sequence[StoredKey]:
        """Every key, revoked and expired ones included, oldest first."""
        return sorted(self._keys.values(), key=lambda key: (key.created_at_s, key.key_id))

    async def revoke(self, key_id: KeyId, at_s: int) -> bool:
        """Mark a key as revoked; an earlier revocation stands. False where there is no such key."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        if key.revoked_at_s is None:
            self._keys[key_id] = msgspec.structs.replace(key, revoked_at_s=at_s)
        self._revision += 1
        return True

    async def revision(self) -> int:
        """A number that grows with every change."""
        return self._revision


class MemoryLedger:
    """The Ledger port over a dictionary by attempt id."""

    def __init__(self) -> None:
        self.records: dict[AttemptId, AttemptRecord] = {}

    async def append(self, records: Sequence[AttemptRecord]) -> None:
        """Keep records; one that is already there stays as it is."""
        for record in records:
            self.records.setdefault(record.attempt_id, record)

    async def usage(self, query: UsageQuery) -> Sequence[UsageLine]:
        """Sum attempts, one line a group, in the groups' order."""
        groups: dict[str, list[AttemptRecord]] = {}
        for record in self.records.values():
            if _within(query, record.started_at_us):
                groups.setdefault(_group(query.group_by, record), []).append(record)
        return [_line(group, groups[group]) for group in sorted(groups)]


def _within(query: UsageQuery, started_at_us: int) -> bool:
    return (query.since_us is None or started_at_us >= query.since_us) and (
        query.until_us is None or started_at_us < query.until_us
    )


def _group(by: Grouping, record: AttemptRecord) -> str:
    if by == "total":
        return "total"
    if by == "day":
        return datetime.fromtimestamp(record.started_at_us // 1_000_000, UTC).date().isoformat()
    return str(getattr(record, "key_id" if by == "key" else by))


def _line(group: str, records: Sequence[AttemptRecord]) -> UsageLine:
    spend: Counter[str] = Counter()
    for record in records:
        if record.price is not None:
            spend[record.price.currency] += record.price.nano
    usages = [record.usage for record in records]
    return UsageLine(
        group,
        attempts=len(records),
        requests=len({record.request_id for record in records}),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        estimated_attempts=sum(usage.source != "reported" for usage in usages),
        unpriced_attempts=sum(record.price is None for record in records),
        failed_attempts=sum(record.outcome is Outcome.FAILED for record in records),
        spend_nano=dict(spend),
    )
