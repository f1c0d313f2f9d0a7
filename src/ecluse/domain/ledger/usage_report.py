"""What a usage report asks and answers."""

from __future__ import annotations

from typing import Literal

import msgspec

Grouping = Literal["model", "route", "key", "deployment", "day", "outcome", "total"]


class UsageQuery(msgspec.Struct, frozen=True):
    """Attempts started in [``since_us``, ``until_us``) of Unix time, grouped by one column.

    Days are those of UTC. ``total`` is one group of everything: requests do not add up over groups,
    since one request may try two models.
    """

    group_by: Grouping = "model"
    since_us: int | None = None
    until_us: int | None = None


class UsageLine(msgspec.Struct, frozen=True):
    """Sums over the attempts of one group.

    ``estimated_attempts`` are those whose tokens were not reported by the upstream;
    ``unpriced_attempts`` those whose price is unknown; ``spend_nano`` sums the known prices per
    currency.
    """

    group: str
    attempts: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    estimated_attempts: int
    unpriced_attempts: int
    failed_attempts: int
    spend_nano: dict[str, int]
