"""Readings of a gateway's metrics."""

from ecluse.adapters.telemetry.metrics import EngineFigures, Metrics
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.usage import Usage
from ecluse.evaluation.meter import read_metrics


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
    """Attempts of every deployment, tokens of every source and engine seconds are summed."""
    engines = [EngineFigures("here/a", 1.5, 0), EngineFigures("here/b", 0.25, 0)]
    metrics = Metrics(lambda: engines, lambda: 0)
    metrics.observe_attempt(_attempt("a", Usage(3, 5)))
    before = read_metrics(metrics.text().decode())
    metrics.observe_attempt(_attempt("a", Usage(10, 20)))
    metrics.observe_attempt(_attempt("b", Usage(1, 2, source="estimate")))
    engines[1] = EngineFigures("here/b", 1.0, 0)
    used = read_metrics(metrics.text().decode()).since(before)
    assert (used.calls, used.prompt_tokens, used.completion_tokens) == (2, 11, 22)
    assert used.cpu_seconds == 0.75
