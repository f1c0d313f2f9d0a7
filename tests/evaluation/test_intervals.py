"""Confidence intervals cover what they should."""

from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.evaluation.intervals import bootstrap, wilson


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


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.integers(0, 2**32))
def test_a_bootstrap_is_of_its_seed_and_within_reach(values: list[float], seed: int) -> None:
    """The same seed gives the same interval, and no sum of drawn blocks lies beyond the ends."""
    low, high = bootstrap(values, sum, Random(seed))
    assert (low, high) == bootstrap(values, sum, Random(seed))
    count = len(values)
    assert count * min(values) * 0.999 <= low <= high <= count * max(values) * 1.001


def test_a_bootstrap_of_equal_blocks_is_a_point() -> None:
    """Where nothing varies there is nothing to be unsure of."""
    assert bootstrap([2.0] * 10, sum, Random(1)) == (20.0, 20.0)


def test_a_bootstrap_covers_what_it_should() -> None:
    """Of 200 samples of 30 numbers the interval holds the true sum 88 to 99 % of the times."""
    rng = Random(5)
    held = 0
    for _ in range(200):
        values = [rng.expovariate(1) for _ in range(30)]
        low, high = bootstrap(values, sum, rng)
        held += low <= 30 <= high
    assert 0.88 <= held / 200 <= 0.99
