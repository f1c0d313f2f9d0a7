"""Confidence intervals of measured shares."""

from __future__ import annotations

import math

Z_95 = 1.959964
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); (0, 1) where nothing was measured."""
    if total == 0:
        return 0.0, 1.0
    share = right / total
    spread = Z_95**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    # At the ends the formula gives exactly 0 and 1; floating point would miss them by a hair.
    return middle - half if right else 0.0, middle + half if right < total else 1.0
