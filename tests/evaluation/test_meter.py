"""Readings of a gateway's metrics."""

from hypothesis import given
from hypothesis import strategies as st

from ecluse.adapters.telemetry.metrics import EngineFigures, Metrics
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.usage import Usage
from ecluse.evaluation.meter import NOTHING, Reading, Used, read_metrics


def _attempt(model: str, usage: Usage) -> AttemptRecord:
    return AttemptRecord(
        attempt_id=AttemptId("a"),
        request_id=RequestId("r"),
        key_id=KeyId("k"),
        route="demo",
        model=model,
        deployment=f"here/{model}",
        stage=0,
        streamed=False,
        started_at_us=0,
        first_event_us=None,
        duration_us=1,
        outcome=Outcome.ANSWERED,
        finish_reason="stop",
        error_code=None,
        usage=usage,
        price=None,
    )


def test_the_difference_of_two_readings_is_what_was_used() -> None:
    """Attempts of every deployment, tokens of every source and engine seconds, by deployment."""
    engines = [EngineFigures("here/a", 1.5, 0), EngineFigures("here/b", 0.25, 0)]
    metrics = Metrics(lambda: engines, lambda: 0, dict)
    metrics.observe_attempt(_attempt("a", Usage(3, 5)))
    before = read_metrics(metrics.text().decode())
    metrics.observe_attempt(_attempt("a", Usage(10, 20)))
    metrics.observe_attempt(_attempt("b", Usage(1, 2, source="estimate")))
    metrics.observe_attempt(_attempt("c", Usage(4, 4)))
    engines[1] = EngineFigures("here/b", 1.0, 0)
    used = read_metrics(metrics.text().decode()).since(before)
    assert used.by_deployment["here/a"] == Used(1, 10, 20, 0.0)
    assert used.by_deployment["here/b"] == Used(1, 1, 2, 0.75)
    ours = used.only({"here/a": 100, "here/b": 7})
    assert ours.total() == Used(2, 11, 22, 0.75)
    assert ours.compute_flop({"here/a": 100, "here/b": 7}) == 2 * (100 * 30 + 7 * 3)


used = st.builds(
    Used, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 9)
)


@given(st.dictionaries(st.sampled_from("abc"), used), st.dictionaries(st.sampled_from("abc"), used))
def test_what_was_used_adds_up(before: dict[str, Used], more: dict[str, Used]) -> None:
    """A reading, and what was used after it, make the later reading."""
    after = {name: before.get(name, NOTHING) + more.get(name, NOTHING) for name in before | more}
    since = Reading(after).since(Reading(before))
    assert since.by_deployment == {name: more.get(name, NOTHING) for name in after}
    assert since.total() == sum(more.values(), NOTHING)
