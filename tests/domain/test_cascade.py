"""When an answer is good enough: laws of evidence and verdicts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Acceptance
from ecluse.domain.routing.cascade import HELD_BYTES_AT_MOST, Evidence, Verdict, consider
from ecluse.domain.values.answer import ChoicePiece, Event

LOGPROBS = st.none() | st.floats(max_value=0, allow_nan=False)
THRESHOLDS = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
EVENTS = st.lists(
    st.builds(
        lambda raw, logprobs: Event(
            raw, tuple(ChoicePiece(i, "x", None, lp) for i, lp in enumerate(logprobs))
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


@given(events=EVENTS, threshold=THRESHOLDS)
def test_a_rise_is_never_taken_back(events: list[Event], threshold: float) -> None:
    """Once the evidence is too weak, more of it changes nothing: so rising early is safe."""
    acceptance = Acceptance(threshold)
    evidence, risen = Evidence(), False
    for event in events:
        evidence = evidence.with_events((event,))
        verdict = consider(acceptance, evidence, ended=False)
        assert not risen or verdict is Verdict.RISE
        risen = verdict is Verdict.RISE
    assert not risen or consider(acceptance, evidence, ended=True) is Verdict.RISE


@given(events=EVENTS, threshold=THRESHOLDS | st.none())
def test_the_end_always_decides(events: list[Event], threshold: float | None) -> None:
    """A whole answer is never held; commits before the end only where nothing is judged."""
    acceptance, evidence = Acceptance(threshold), evidence_of(events)
    assert consider(acceptance, evidence, ended=True) is not Verdict.HOLD
    early = consider(acceptance, evidence, ended=False)
    assert (early is Verdict.COMMIT) == (threshold is None)


@given(least=LOGPROBS, lower=THRESHOLDS, higher=THRESHOLDS)
def test_a_stricter_threshold_accepts_no_more(
    least: float | None, lower: float, higher: float
) -> None:
    """What a higher threshold accepts, a lower one accepts too."""
    lower, higher = min(lower, higher), max(lower, higher)
    if consider(Acceptance(higher), Evidence(least), ended=True) is Verdict.COMMIT:
        assert consider(Acceptance(lower), Evidence(least), ended=True) is Verdict.COMMIT


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
    assert consider(Acceptance(-0.5), Evidence(least), ended=ended) is verdict


def test_holding_is_bounded() -> None:
    """A held answer that grows too large rises rather than fill the memory."""
    large = Evidence(-0.1, HELD_BYTES_AT_MOST + 1)
    assert consider(Acceptance(-0.5), Evidence(-0.1, HELD_BYTES_AT_MOST), ended=False) is (
        Verdict.HOLD
    )
    assert consider(Acceptance(-0.5), large, ended=False) is Verdict.RISE
    assert consider(Acceptance(), large, ended=False) is Verdict.COMMIT
