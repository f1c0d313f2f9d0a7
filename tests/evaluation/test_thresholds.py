"""The fitted acceptance threshold is the best one there is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.evaluation.thresholds import Judged, fit_threshold

judged = st.builds(
    Judged,
    least_logprob=st.sampled_from([-0.01, -0.1, -0.5, -1.0, -2.0, -math.inf]),
    small_is_right=st.booleans(),
    large_is_right=st.booleans(),
)


def _cascade(items: list[Judged], threshold: float) -> tuple[int, int]:
    """Right answers and rises under a threshold, counted item by item."""
    risen = [item for item in items if item.least_logprob < threshold]
    kept = [item for item in items if item.least_logprob >= threshold]
    right = sum(i.large_is_right for i in risen) + sum(i.small_is_right for i in kept)
    return right, len(risen)


@given(st.lists(judged, min_size=1, max_size=40), st.sampled_from([0.0, 0.8, 0.99, 1.0]))
def test_no_other_threshold_rises_less(items: list[Judged], keep: float) -> None:
    """Brute force over every threshold finds none that keeps enough and rises less often."""
    fit = fit_threshold(items, keep)
    needed = keep * sum(item.large_is_right for item in items)
    right, rises = _cascade(items, fit.threshold)
    assert right >= needed
    assert fit.accuracy == pytest.approx(right / len(items))
    assert fit.rise_share == pytest.approx(rises / len(items))
    for other in {item.least_logprob for item in items} | {math.inf}:
        other_right, other_rises = _cascade(items, other)
        assert other_right < needed or other_rises >= rises


@pytest.mark.parametrize(
    ("items", "keep"),
    [([], 0.99), ([Judged(math.nan, True, True)], 0.99), ([Judged(-1.0, True, True)], 1.5)],
)
def test_nonsense_is_refused(items: list[Judged], keep: float) -> None:
    """No items, a NaN and an impossible share each raise ValueError."""
    with pytest.raises(ValueError, match=r"no items|not a number|within 0 and 1"):
        fit_threshold(items, keep)
