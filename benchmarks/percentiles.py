"""What a list of latencies comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(seconds: Sequence[float]) -> dict[str, float] | None:
    """Percentiles in milliseconds; nothing where nothing was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    wanted = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share) * 1e3, 3) for name, share in wanted.items()}
