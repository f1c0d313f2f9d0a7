"""Confidence intervals of what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

CONFIDENCE = 0.95
RESAMPLES = 2_000
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


def bootstrap(
    blocks: Sequence[T], figure: Callable[[Sequence[T]], float], rng: Random
) -> tuple[float, float]:
    """The 95 % percentile interval (Efron 1979) of a figure of measured blocks, such as their sum.

    Blocks are drawn anew with replacement, whole: what goes together stays together.
    """
    figures = sorted(figure(rng.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES))
    cut = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return figures[cut], figures[-1 - cut]
