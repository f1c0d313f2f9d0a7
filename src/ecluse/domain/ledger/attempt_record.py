"""The append-only account of one attempt."""

from __future__ import annotations

import msgspec

from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.money import Money
from ecluse.domain.values.usage import Usage


class AttemptRecord(msgspec.Struct, frozen=True):
    """One attempt, settled.

    ``started_at_us`` is Unix time in microseconds; ``first_event_us`` and ``duration_us`` are
    measured from there. ``price`` None means unknown. ``error_code`` is set when it failed.
    """

    attempt_id: AttemptId
    request_id: RequestId
    key_id: KeyId
    route: str
    model: str
    deployment: str
    stage: int
    streamed: bool
    started_at_us: int
    first_event_us: int | None
    duration_us: int
    outcome: Outcome
    finish_reason: str | None
    error_code: str | None
    usage: Usage
    price: Money | None
