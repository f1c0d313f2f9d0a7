"""Confidence intervals cover what they should."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.evaluation.intervals import wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(counts: tuple[int, int]) -> None:
    """The measured share lies inside, and both ends are shares."""
    right, total = counts
    low, high = wilson(right, total)
    assert 0 <= low <= right / total <= high <= 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_coverage_is_near_95_per_cent(share: float) -> None:
    """Summed over all outcomes of 200 trials, the interval holds the true share 93 to 97 times in
    100: the range Brown, Cai and DasGupta (2001) give for the Wilson interval at this size.
    """
    total, coverage = 200, 0.0
    for right in range(total + 1):
        low, high = wilson(right, total)
        if low <= share <= high:
            coverage += comb(total, right) * share**right * (1 - share) ** (total - right)
    assert 0.93 <= coverage <= 0.97


def test_nothing_measured_says_nothing() -> None:
    """Without trials the interval is everything."""
    assert wilson(0, 0) == (0.0, 1.0)
