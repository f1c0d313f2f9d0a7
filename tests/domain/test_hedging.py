"""How many requests may be sent a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.fleet.hedging import MOST_SAVED, HedgeBudget

SHARES = st.floats(0, 1)
A_LITTLE = 1e-6
"""Floating point."""


def hedges(share: float, wanted: list[bool]) -> list[bool]:
    """Which of some requests are hedged; ``wanted`` says which are slow."""
    budget, done = HedgeBudget(share), []
    for slow in wanted:
        budget = budget.earned()
        after = budget.spent() if slow else None
        done.append(after is not None)
        budget = after or budget
    return done


@given(share=SHARES, wanted=st.lists(st.booleans(), max_size=300), data=st.data())
def test_hedges_keep_to_their_share(share: float, wanted: list[bool], data: st.DataObject) -> None:
    """Over any requests in a row at most their share and ten; from the start on, their share."""
    done = hedges(share, wanted)
    begin = data.draw(st.integers(0, len(done)))
    end = data.draw(st.integers(begin, len(done)))
    assert sum(done[begin:end]) <= share * (end - begin) + MOST_SAVED + A_LITTLE
    assert sum(done) <= share * len(done) + A_LITTLE


@given(share=SHARES, count=st.integers(0, 300))
def test_where_all_are_slow_the_whole_share_is_used(share: float, count: int) -> None:
    """Not one hedge less than was earned."""
    assert sum(hedges(share, [True] * count)) >= int(share * count - A_LITTLE)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.05, 5), (0.1, 10), (0.5, 50), (1, 100)])
def test_shares(share: float, count: int) -> None:
    """Of a hundred slow requests."""
    assert sum(hedges(share, [True] * 100)) == count


@given(share=SHARES)
def test_ten_are_saved_up_at_most(share: float) -> None:
    """A quiet night does not pay for a storm."""
    budget = HedgeBudget(share)
    for _ in range(10_000 if share < 1e-2 else 2_000):
        budget = budget.earned()
    spent = 0
    while (after := budget.spent()) is not None:
        budget, spent = after, spent + 1
        assert budget.saved >= 0
    assert spent <= MOST_SAVED
