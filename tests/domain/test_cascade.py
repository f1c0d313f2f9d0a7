"""When an answer is good enough: laws of evidence and verdicts."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Acceptance
from ecluse.domain.routing.cascade import (
    HELD_BYTES_AT_MOST,
    Evidence,
    Verdict,
    after_failure,
    conclude,
    consider,
)
from ecluse.domain.values.answer import ChoicePiece, Event

LOGPROBS = st.none() | st.floats(max_value=0, allow_nan=False)
THRESHOLDS = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
EVENTS = st.lists(
    st.builds(
        lambda raw, logprobs: Event(
            raw,
            tuple(
                ChoicePiece(i, "x", "x", None, lp, lp is not None) for i, lp in enumerate(logprobs)
            ),
        ),
        st.binary(max_size=5),
        st.lists(LOGPROBS, max_size=3),
    ),
    max_size=6,
)


def evidence_of(events: list[Event]) -> Evidence:
    """Events that came one by one."""
    evidence = Evidence()
    for event in events:
        evidence = evidence.with_events((event,))
    return evidence


@given(events=EVENTS, data=st.data())
def test_order_and_grouping_do_not_matter(events: list[Event], data: st.DataObject) -> None:
    """Evidence is of the answer, not of how it was cut into pieces."""
    shuffled = data.draw(st.permutations(events))
    assert evidence_of(events) == evidence_of(shuffled) == Evidence().with_events(tuple(events))


@given(events=EVENTS)
def test_evidence_is_the_least_of_every_choice(events: list[Event]) -> None:
    """Each choice's pieces count; bytes add up; no log-probability is no evidence."""
    told = [p.least_logprob for e in events for p in e.choices if p.least_logprob is not None]
    evidence = evidence_of(events)
    assert evidence.least_logprob == (min(told) if told else None)
    assert evidence.bytes_seen == sum(len(event.raw) for event in events)


def early(acceptance: Acceptance, evidence: Evidence, *, free: bool = True) -> Verdict:
    """The verdict while the answer is coming."""
    return consider(acceptance, evidence, may_commit_early=free)


def final(acceptance: Acceptance, evidence: Evidence, *, well_formed: bool = True) -> Verdict:
    """The verdict about a whole answer."""
    return conclude(acceptance, evidence, well_formed=well_formed, limited=False)


@given(events=EVENTS, threshold=THRESHOLDS)
def test_a_rise_is_never_taken_back(events: list[Event], threshold: float) -> None:
    """Once the evidence is too weak, more of it changes nothing: so rising early is safe."""
    acceptance = Acceptance(threshold)
    evidence, risen = Evidence(), False
    for event in events:
        evidence = evidence.with_events((event,))
        verdict = early(acceptance, evidence)
        assert not risen or verdict is Verdict.RISE
        risen = verdict is Verdict.RISE
    assert not risen or final(acceptance, evidence) is Verdict.RISE


@given(events=EVENTS, threshold=THRESHOLDS | st.none())
def test_the_end_always_decides(events: list[Event], threshold: float | None) -> None:
    """A whole answer is never held; commits before the end only where nothing is judged."""
    acceptance, evidence = Acceptance(threshold), evidence_of(events)
    assert final(acceptance, evidence) in (Verdict.COMMIT, Verdict.RISE)
    assert (early(acceptance, evidence) is Verdict.COMMIT) == (threshold is None)


@given(events=EVENTS, threshold=THRESHOLDS, enough=st.integers(1, 6), free=st.booleans())
def test_an_early_commit_has_its_evidence(
    events: list[Event], threshold: float, enough: int, free: bool
) -> None:
    """Only so many tokens, all sure enough and none without proof, let a free answer go early."""
    evidence = evidence_of(events)
    pieces = [piece for event in events for piece in event.choices]
    told = [piece.least_logprob for piece in pieces if piece.least_logprob is not None]
    deserved = free and len(told) >= enough and len(told) == len(pieces) and min(told) >= threshold
    verdict = early(Acceptance(threshold, enough), evidence, free=free)
    assert (verdict is Verdict.COMMIT) == deserved


@given(least=LOGPROBS, lower=THRESHOLDS, higher=THRESHOLDS)
def test_a_stricter_threshold_accepts_no_more(
    least: float | None, lower: float, higher: float
) -> None:
    """What a higher threshold accepts, a lower one accepts too."""
    lower, higher = min(lower, higher), max(lower, higher)
    if final(Acceptance(higher), Evidence(least)) is Verdict.COMMIT:
        assert final(Acceptance(lower), Evidence(least)) is Verdict.COMMIT


@pytest.mark.parametrize(
    ("least", "ended", "verdict"),
    [
        (-0.4, False, Verdict.HOLD),
        (-0.4, True, Verdict.COMMIT),
        (-0.5, True, Verdict.COMMIT),
        (-0.6, False, Verdict.RISE),
        (-0.6, True, Verdict.RISE),
        (-math.inf, False, Verdict.RISE),
        (math.nan, True, Verdict.RISE),
        (math.nan, False, Verdict.RISE),
        (None, False, Verdict.HOLD),
        (None, True, Verdict.RISE),
    ],
)
def test_verdicts(least: float | None, ended: bool, verdict: Verdict) -> None:
    """At a threshold of -0.5: the threshold itself is good enough, nonsense is not."""
    decide = final if ended else early
    assert decide(Acceptance(-0.5), Evidence(least)) is verdict


@given(st.permutations([-0.1, math.nan, -0.2]))
def test_not_a_number_proves_nothing(logprobs: list[float]) -> None:
    """Wherever it stands among good ones."""
    pieces = tuple(ChoicePiece(0, "x", "x", None, logprob, 1) for logprob in logprobs)
    evidence = Evidence().with_events((Event(b"", pieces),))
    assert early(Acceptance(-0.5), evidence) is Verdict.RISE


@pytest.mark.parametrize("rule", ["rise", "accept"])
def test_what_shows_no_log_probabilities_goes_by_its_rule(
    rule: Literal["rise", "accept"],
) -> None:
    """Whether there are none at all or only some are missing; a bad form rises by any rule."""
    acceptance = Acceptance(-0.5, without_logprobs=rule)
    expected = Verdict.COMMIT if rule == "accept" else Verdict.RISE
    for evidence in (Evidence(), Evidence(-0.1, 3, unproven=True)):
        assert final(acceptance, evidence) is expected
        assert final(acceptance, evidence, well_formed=False) is Verdict.RISE


@pytest.mark.parametrize("limited", [True, False])
def test_an_answer_that_was_cut_off_rises(limited: bool) -> None:
    """Unless the client itself had set the limit."""
    pieces = (ChoicePiece(0, "x", "x", "length", -0.1, 1),)
    evidence = Evidence().with_events((Event(b"", pieces),))
    verdict = conclude(Acceptance(-0.5), evidence, well_formed=True, limited=limited)
    assert verdict is (Verdict.COMMIT if limited else Verdict.RISE)


@pytest.mark.parametrize(
    ("told", "can_continue", "another_may_do", "verdict"),
    [
        (False, True, True, Verdict.RESTART),
        (False, False, True, Verdict.RESTART),
        (True, True, True, Verdict.CONTINUE),
        (True, False, True, Verdict.FAIL),
        (True, True, False, Verdict.FAIL),
        (False, True, False, Verdict.FAIL),
    ],
)
def test_after_a_failure(
    told: bool, can_continue: bool, another_may_do: bool, verdict: Verdict
) -> None:
    """Begin anew while nothing was told, go on where that is possible, else fail visibly."""
    decided = after_failure(told=told, can_continue=can_continue, another_may_do=another_may_do)
    assert decided is verdict


def test_holding_is_bounded() -> None:
    """A held answer that grows too large rises rather than fill the memory."""
    large = Evidence(-0.1, bytes_seen=HELD_BYTES_AT_MOST + 1)
    full = Evidence(-0.1, bytes_seen=HELD_BYTES_AT_MOST)
    assert early(Acceptance(-0.5), full) is Verdict.HOLD
    assert early(Acceptance(-0.5), large) is Verdict.RISE
    assert early(Acceptance(), large) is Verdict.COMMIT
