"""The fitted rules are the best there are, and do on their items what they say."""

import itertools
import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecluse.evaluation.thresholds import (
    Answered,
    Fit,
    Item,
    Price,
    Rule,
    fit,
    fit_commits,
    fit_thresholds,
    replay,
)

LIMIT_S = 30.0
LOGPROBS = st.sampled_from([0.0, -0.01, -0.1, -0.5, -1.0, -2.0, -math.inf])
PRICES = (Price(1.0, 2.0), Price(5.0, 1.0), Price(30.0), Price(90.0, 7.0))


@st.composite
def answers(draw: st.DrawFn) -> Answered:
    """An answer of a few tokens; its end may have no log-probability of its own."""
    logprobs = tuple(draw(st.lists(LOGPROBS, max_size=5)))
    more = draw(st.integers(0, 1))
    return Answered(draw(st.booleans()), logprobs, draw(st.integers(1, 9)), len(logprobs) + more)


def ladders(rungs: int, most: int) -> st.SearchStrategy[list[Item]]:
    """Items for a ladder of so many rungs."""
    return st.lists(st.tuples(*[answers()] * rungs), min_size=1, max_size=most)


def right_of_last(items: list[Item]) -> int:
    """Right answers when the last rung is always asked."""
    return sum(item[-1].is_right for item in items)


def cheapest_by_force(items: list[Item], prices: tuple[Price, ...], keep: float) -> float:
    """The least cost over every combination of evidence values that keeps enough."""
    candidates = [
        {answer.least for answer in rung if answer.least > -math.inf} | {math.inf}
        for rung in list(zip(*items, strict=True))[:-1]
    ]
    found = (
        replay(items, prices, tuple(map(Rule, thresholds)))
        for thresholds in itertools.product(*candidates)
    )
    needed = keep * right_of_last(items)
    return min(r.cost for r in found if r.accuracy * len(items) >= needed - 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: ladders(n, 12)), st.sampled_from([0.0, 0.8, 0.99, 1.0]))
def test_no_other_thresholds_are_cheaper(items: list[Item], keep: float) -> None:
    """Brute force over every combination finds none that keeps enough and costs less."""
    prices = PRICES[: len(items[0])]
    thresholds = fit_thresholds(items, prices, keep)
    assert len(thresholds) == len(prices) - 1
    done = replay(items, prices, tuple(map(Rule, thresholds)))
    assert done.accuracy * len(items) >= keep * right_of_last(items) - 1e-6
    assert done.cost == pytest.approx(cheapest_by_force(items, prices, keep))


@given(ladders(3, 20), st.floats(0, 1), st.floats(0, 1))
def test_the_fit_says_what_it_does(items: list[Item], keep: float, loss: float) -> None:
    """Its figures are those of its rules, sent over the items one by one."""
    prices = PRICES[:3]
    found = fit(items, prices, keep, loss)
    done = replay(items, prices, found.rules)
    assert found.accuracy == done.accuracy
    assert found.asked == done.asked
    assert found.asked[0] == 1.0
    assert found.last_accuracy == right_of_last(items) / len(items)
    assert found.accuracy + found.loss >= keep * found.last_accuracy - 1e-6
    dearest = sum(PRICES[2].of(item[2], item[2].completion_tokens) for item in items)
    assert found.cost_share == pytest.approx(done.cost / dearest)


@given(ladders(3, 20), st.tuples(LOGPROBS, LOGPROBS), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_early_commits_lose_no_more_than_they_may(
    items: list[Item], thresholds: tuple[float, float], loss: float
) -> None:
    """Together they lose at most ``loss``, and one token earlier the first would lose too much."""
    rules = fit_commits(items, thresholds, loss)
    patient = replay(items, PRICES[:3], tuple(map(Rule, thresholds))).accuracy
    assert patient - replay(items, PRICES[:3], rules).accuracy <= loss + 1e-6
    longest = max(len(item[0].logprobs) for item in items)
    first = rules[0].commit_after_tokens
    assert first is None or 1 <= first < longest
    earlier = longest - 1 if first is None else first - 1
    if earlier >= 1:
        hastier = (Rule(thresholds[0], earlier), Rule(thresholds[1]))
        assert patient - replay(items, PRICES[:3], hastier).accuracy > loss / 2 - 1e-6


@given(ladders(3, 20), st.tuples(LOGPROBS, LOGPROBS))
def test_commits_accept_no_less(items: list[Item], thresholds: tuple[float, float]) -> None:
    """The sooner a rung commits, the fewer items reach the rungs above."""
    patient = replay(items, PRICES[:3], tuple(map(Rule, thresholds))).asked
    hasty = replay(items, PRICES[:3], tuple(Rule(t, 1) for t in thresholds)).asked
    assert all(less <= more for less, more in zip(hasty, patient, strict=True))


def answered(right: bool, *logprobs: float) -> Answered:
    """An answer to a prompt of ten tokens."""
    return Answered(right, logprobs, 10, len(logprobs))


def test_a_rise_costs_only_the_tokens_up_to_the_cut() -> None:
    """The prompt and two tokens of the first rung, then the whole of the last."""
    item = (answered(False, -0.1, -3.0, -0.1, -0.1), answered(True, -0.1, -0.1, -0.1))
    done = replay([item], (Price(1.0, 5.0), Price(10.0)), (Rule(-1.0),))
    assert done.cost == 5 + 1 * (10 + 2) + 10 * (10 + 3)
    assert done.accuracy == 1.0
    assert done.asked == (1.0, 1.0)


def test_a_commit_comes_before_a_late_doubt() -> None:
    """What was committed after one token is not cut at the second, and is paid for whole."""
    item = (answered(False, -0.1, -3.0, -0.1), answered(True, -0.1))
    done = replay([item], (Price(1.0), Price(10.0)), (Rule(-1.0, 1),))
    assert (done.cost, done.accuracy, done.asked) == (13.0, 0.0, (1.0, 0.0))


def test_an_answer_without_evidence_is_never_accepted() -> None:
    """It is paid for whole, since only its end tells that nothing comes."""
    item = (Answered(True, (), 10, 4), answered(True, -0.1))
    done = replay([item], (Price(1.0), Price(10.0)), (Rule(-1.0, 1),))
    assert (done.cost, done.asked) == (14 + 110, (1.0, 1.0))


def made_up(count: int) -> list[Item]:
    """Items such as a real ladder gives: the larger, the surer and the more often right."""
    rng = random.Random(3)
    items = []
    for _ in range(count):
        difficulty, length = rng.random(), rng.choice([5, 12, 25, 400])
        rungs = []
        for skill in (0.4, 0.7, 0.9):
            right = difficulty < skill + rng.gauss(0, 0.1)
            scale = 0.01 if right else 0.3
            logprobs = tuple(-rng.expovariate(1 / scale) for _ in range(length))
            rungs.append(Answered(right, logprobs, 15, length + 1))
        items.append(tuple(rungs))
    return items


def test_two_thousand_items_take_seconds() -> None:
    """Three rungs, without numpy; the ladder found costs less than its largest rung alone."""
    items = made_up(2_000)
    began = time.process_time()
    found = fit(items, (Price(0.14), Price(1.0), Price(5.2)))
    assert time.process_time() - began < LIMIT_S
    assert isinstance(found, Fit)
    assert found.accuracy >= (0.998 * found.last_accuracy) - 0.002 - 1e-9
    assert found.cost_share < 0.9


@pytest.mark.parametrize(
    ("items", "keep"),
    [
        ([], 0.99),
        ([(answered(True, math.nan), answered(True, -1.0))], 0.99),
        ([(answered(True, -1.0), answered(True, -1.0))], 1.5),
        ([(answered(True, -1.0),)], 0.99),
    ],
)
def test_nonsense_is_refused(items: list[Item], keep: float) -> None:
    """No items, a NaN, an impossible share and a missing answer each raise ValueError."""
    with pytest.raises(
        ValueError, match=r"no items|not a number|within 0 and 1|one answer of each"
    ):
        fit(items, PRICES[:2], keep)
