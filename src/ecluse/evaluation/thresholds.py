"""Fit the rule that accepts a small model's answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Judged(msgspec.Struct, frozen=True):
    """One held-out item: the small model's evidence, and which model answered it rightly."""

    least_logprob: float
    small_is_right: bool
    large_is_right: bool


class Fit(msgspec.Struct, frozen=True):
    """A threshold and what it would have done on the items it was fitted on.

    Answers whose least log-probability is at least ``threshold`` are accepted.
    """

    threshold: float
    accuracy: float
    large_accuracy: float
    rise_share: float
    items: int


def fit_threshold(items: Sequence[Judged], keep: float = 0.99) -> Fit:
    """Choose the threshold that rises least often while the cascade keeps ``keep`` of the large
    model's accuracy on these items.

    Candidates are the evidence values themselves and +infinity (always rise, which always keeps
    the whole of it). Items of equal evidence are accepted or risen together. Raises ValueError on
    no items, a NaN, or ``keep`` outside 0..1.
    """
    if not items:
        raise ValueError("a threshold cannot be fitted on no items")
    if any(math.isnan(item.least_logprob) for item in items):
        raise ValueError("an item's least_logprob is not a number")
    if not 0 <= keep <= 1:
        raise ValueError(f"keep must be within 0 and 1, got {keep}")
    by_evidence = sorted(items, key=lambda item: -item.least_logprob)
    large_right = sum(item.large_is_right for item in items)
    right, best = large_right, (math.inf, 0, large_right)
    for position, item in enumerate(by_evidence, start=1):
        right += item.small_is_right - item.large_is_right
        is_last_of_ties = (
            position == len(items) or by_evidence[position].least_logprob < item.least_logprob
        )
        if is_last_of_ties and right >= keep * large_right:
            best = (item.least_logprob, position, right)
    threshold, accepted, right = best
    count = len(items)
    return Fit(threshold, right / count, large_right / count, 1 - accepted / count, count)
