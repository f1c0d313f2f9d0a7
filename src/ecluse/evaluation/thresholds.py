"""Fit the rules by which the rungs of a ladder accept their own answers. Pure.

A rung is asked, its answer streamed, and cut at the first token whose log-probability is below the
rung's threshold: then the next rung is asked, and only the tokens up to there were paid for. The
last rung's answer is the last word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec

SWEEPS = 128
"""About so many times per round is the last threshold swept over its items."""

ALWAYS_RISE = math.inf
ROUNDING = 1e-9


class Answered(msgspec.Struct, frozen=True):
    """One rung's answer to one held-out item.

    ``logprobs`` are those of its tokens, in order; an answer without any is never accepted.
    ``completion_tokens`` are what the whole answer takes.
    """

    is_right: bool
    logprobs: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int

    @property
    def least(self) -> float:
        """Its evidence: the log-probability of the token it was least sure of."""
        return min(self.logprobs, default=-math.inf)


Item = Sequence[Answered]
"""One answer of each rung, the least rung first."""


class Price(msgspec.Struct, frozen=True):
    """What a rung costs, in any unit that is the same for all rungs."""

    per_token: float
    per_call: float = 0.0

    def of(self, answer: Answered, completion_tokens: int) -> float:
        """The cost of an answer up to that many tokens."""
        return self.per_call + self.per_token * (answer.prompt_tokens + completion_tokens)


class Rule(msgspec.Struct, frozen=True):
    """Answers whose every log-probability is at least ``least_logprob`` are accepted; those whose
    first ``commit_after_tokens`` are, without waiting for the rest. None waits for the end.
    """

    least_logprob: float
    commit_after_tokens: int | None = None


class Replay(msgspec.Struct, frozen=True):
    """What a ladder did with items. ``asked`` is the share of them that each rung was asked."""

    accuracy: float
    cost: float
    asked: tuple[float, ...]


class Fit(msgspec.Struct, frozen=True):
    """Rules, one for each rung but the last, and what they did with the items of the fit.

    ``cost_share`` is that of the cost of always asking the last rung, ``loss`` what the early
    commits cost in accuracy.
    """

    rules: tuple[Rule, ...]
    accuracy: float
    last_accuracy: float
    cost_share: float
    asked: tuple[float, ...]
    loss: float
    items: int


def fit(
    items: Sequence[Item], prices: Sequence[Price], keep: float = 0.998, loss: float = 0.002
) -> Fit:
    """Fit all rules of a ladder: thresholds first, then after how many tokens to commit.

    ``keep`` is the share of the last rung's accuracy that the thresholds have to keep, ``loss``
    the accuracy that early commits may cost beyond it, all together. Raises ValueError on no
    items, items that are not one answer per price, a NaN, or shares outside 0..1.
    """
    _refuse_nonsense(items, prices, keep, loss)
    thresholds = fit_thresholds(items, prices, keep)
    rules = fit_commits(items, thresholds, loss)
    patient = replay(items, prices, tuple(map(Rule, thresholds)))
    hasty = replay(items, prices, rules)
    dearest = replay([item[-1:] for item in items], prices[-1:], ())
    return Fit(
        rules,
        hasty.accuracy,
        dearest.accuracy,
        hasty.cost / dearest.cost if dearest.cost else 1.0,
        hasty.asked,
        patient.accuracy - hasty.accuracy,
        len(items),
    )


def replay(items: Sequence[Item], prices: Sequence[Price], rules: Sequence[Rule]) -> Replay:
    """Send items up a ladder, one by one."""
    right, cost, asked = 0, 0.0, [0] * len(prices)
    for item in items:
        for rung, answer in enumerate(item):
            asked[rung] += 1
            cut = None if rung == len(rules) else _cut(answer, rules[rung])
            cost += prices[rung].of(answer, answer.completion_tokens if cut is None else cut)
            if cut is None:
                right += answer.is_right
                break
    count = len(items)
    return Replay(right / count, cost, tuple(number / count for number in asked))


def _cut(answer: Answered, rule: Rule) -> int | None:
    """After how many tokens a rule gives an answer up; None where it accepts it."""
    if not answer.logprobs:
        return answer.completion_tokens
    for tokens, logprob in enumerate(answer.logprobs[: rule.commit_after_tokens], start=1):
        if logprob < rule.least_logprob:
            return tokens
    return None


def fit_thresholds(
    items: Sequence[Item], prices: Sequence[Price], keep: float
) -> tuple[float, ...]:
    """Choose the thresholds together: the cheapest ones that keep ``keep`` of the last rung's
    right answers on these items.

    Candidates are the evidence values themselves and +infinity (always rise, which always keeps
    the whole of it). With two rungs the choice is exact. With more, all thresholds but the last
    are looked for on a grid of quantiles, which is then refined around the best.
    """
    needed = keep * sum(item[-1].is_right for item in items) - ROUNDING
    search = _Search(items, prices)
    return search.cheapest(0, range(len(items)), needed, math.inf).thresholds


class _Found(msgspec.Struct, frozen=True):
    """The cheapest thresholds from a rung on; the cost is infinite where none is good enough."""

    cost: float
    thresholds: tuple[float, ...] = ()


class _Event(msgspec.Struct, frozen=True):
    """What changes when a threshold falls to ``value``: an item costs ``dearer`` more because it
    is cut later; with ``accepts`` it is not cut any more.
    """

    value: float
    item: int
    dearer: float
    accepts: bool


class _Search:
    def __init__(self, items: Sequence[Item], prices: Sequence[Price]) -> None:
        self._items = items
        self._prices = prices
        self._last = len(prices) - 1
        free = max(1, self._last - 1)
        self._grid = max(4, round(SWEEPS ** (1 / free)))
        self._events = [
            sorted(
                (event for i, item in enumerate(items) for event in _events(i, item[rung], price)),
                key=lambda event: -event.value,
            )
            for rung, price in enumerate(prices[:-1])
        ]

    def cheapest(self, rung: int, risen: Sequence[int], needed: float, bound: float) -> _Found:
        """The cheapest thresholds from ``rung`` on with at least ``needed`` right answers among
        the ``risen`` items, if there are any for less than ``bound``.
        """
        if rung == self._last:
            right = sum(self._items[i][rung].is_right for i in risen)
            return _Found(self._whole(rung, risen) if right >= needed else math.inf)
        if rung == self._last - 1:
            return self._swept(rung, risen, needed)
        values = sorted({self._items[i][rung].least for i in risen}, reverse=True)
        candidates = [ALWAYS_RISE, *(value for value in values if value > -math.inf)]
        best, best_at = _Found(bound), 0
        low, high = 0, len(candidates) - 1
        while True:
            step = max(1, (high - low) // self._grid)
            for at in sorted({*range(low, high + 1, step), high}):
                found = self._with(rung, risen, candidates[at], needed, best.cost)
                if found.cost < best.cost:
                    best, best_at = found, at
            if step == 1:
                return best if best.thresholds else _Found(math.inf)
            low, high = max(0, best_at - step), min(len(candidates) - 1, best_at + step)

    def _with(
        self, rung: int, risen: Sequence[int], threshold: float, needed: float, bound: float
    ) -> _Found:
        """The cheapest thresholds whose first one is given."""
        rule, cost, higher = Rule(threshold), 0.0, []
        for i in risen:
            answer = self._items[i][rung]
            cut = _cut(answer, rule)
            if cut is None:
                needed -= answer.is_right
            else:
                higher.append(i)
            tokens = answer.completion_tokens if cut is None else cut
            cost += self._prices[rung].of(answer, tokens)
        if cost >= bound:
            return _Found(math.inf)
        found = self.cheapest(rung + 1, higher, needed, bound - cost)
        return _Found(cost + found.cost, (threshold, *found.thresholds))

    def _swept(self, rung: int, risen: Sequence[int], needed: float) -> _Found:
        """The best threshold of the last rung but one: let it fall from infinity, and keep the
        account of what changes.
        """
        is_risen = bytearray(len(self._items))
        for i in risen:
            is_risen[i] = True
        price, top = self._prices[rung], self._prices[rung + 1]
        right = sum(self._items[i][rung + 1].is_right for i in risen)
        cost = self._whole(rung + 1, risen) + sum(
            price.of(self._items[i][rung], _first_cut(self._items[i][rung])) for i in risen
        )
        best = _Found(cost, (ALWAYS_RISE,)) if right >= needed else _Found(math.inf)
        events = [event for event in self._events[rung] if is_risen[event.item]]
        for position, event in enumerate(events):
            cost += event.dearer
            if event.accepts:
                answer, higher = self._items[event.item][rung], self._items[event.item][rung + 1]
                cost -= top.of(higher, higher.completion_tokens)
                right += answer.is_right - higher.is_right
            is_last_of_ties = (
                position + 1 == len(events) or events[position + 1].value < event.value
            )
            if is_last_of_ties and right >= needed and cost < best.cost:
                best = _Found(cost, (event.value,))
        return best

    def _whole(self, rung: int, items: Iterable[int]) -> float:
        answers = (self._items[i][rung] for i in items)
        return sum(self._prices[rung].of(answer, answer.completion_tokens) for answer in answers)


def _events(item: int, answer: Answered, price: Price) -> list[_Event]:
    """What a falling threshold changes for one answer: one event per new least value."""
    records: list[tuple[float, int]] = []
    for tokens, logprob in enumerate(answer.logprobs, start=1):
        if not records or logprob < records[-1][0]:
            records.append((logprob, tokens))
    events = []
    for position, (value, tokens) in enumerate(records, start=1):
        if value > -math.inf:
            accepts = position == len(records)
            end = answer.completion_tokens if accepts else records[position][1]
            events.append(_Event(value, item, price.per_token * (end - tokens), accepts))
    return events


def _first_cut(answer: Answered) -> int:
    return 1 if answer.logprobs else answer.completion_tokens


def fit_commits(
    items: Sequence[Item], thresholds: Sequence[float], loss: float
) -> tuple[Rule, ...]:
    """Choose for each rung after how many tokens, none of them below its threshold, an answer may
    go out before it is whole: the fewest from which on the accuracy lost stays within the rung's
    part of ``loss``. None where that takes all of its longest answer.
    """
    part = loss / max(1, len(thresholds)) * len(items) + ROUNDING
    rules = list(map(Rule, thresholds))
    for rung, threshold in enumerate(thresholds):
        # The lower rungs' commits are counted in: what they accept does not get here.
        rules[rung] = Rule(threshold, _commit_after(items, rules, rung, part))
    return tuple(rules)


def _commit_after(
    items: Sequence[Item], rules: Sequence[Rule], rung: int, answers_lost: float
) -> int | None:
    """See ``fit_commits``; ``answers_lost`` is a number of items."""
    longest = max(len(item[rung].logprobs) for item in items)
    lost_by_cut = [0] * (longest + 1)
    for item in items:
        cuts = [_cut(answer, rule) for answer, rule in zip(item, rules, strict=False)]
        cut = cuts[rung]
        reaches = all(lower is not None for lower in cuts[:rung])
        if reaches and cut is not None and item[rung].logprobs:
            final = next((i for i, c in enumerate(cuts) if i > rung and c is None), len(item) - 1)
            lost_by_cut[cut] += item[final].is_right - item[rung].is_right
    # Committing after n tokens accepts the answers that would have been cut after more than n.
    lost_after = list(accumulate(reversed(lost_by_cut)))[::-1]
    tokens = longest
    while tokens > 1 and lost_after[tokens] <= answers_lost:
        tokens -= 1
    return tokens if tokens < longest else None


def _refuse_nonsense(
    items: Sequence[Item], prices: Sequence[Price], keep: float, loss: float
) -> None:
    if not items:
        raise ValueError("rules cannot be fitted on no items")
    if not prices or any(len(item) != len(prices) for item in items):
        raise ValueError("an item needs one answer of each rung that has a price")
    if any(math.isnan(value) for item in items for answer in item for value in answer.logprobs):
        raise ValueError("a log-probability is not a number")
    if not (0 <= keep <= 1 and 0 <= loss <= 1):
        raise ValueError(f"keep and loss must be within 0 and 1, got {keep} and {loss}")
