"""Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from ecluse.domain.fleet.breaker import State
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.request_note import RequestNote

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
US_PER_S = 1_000_000


class EngineFigures:
    """CPU time and memory of one embedded engine."""

    def __init__(self, deployment: str, cpu_seconds: float, resident_bytes: int) -> None:
        self.deployment = deployment
        self.cpu_seconds = cpu_seconds
        self.resident_bytes = resident_bytes


class Metrics:
    """Counts requests and attempts, and reads gauges when it is asked for its text.

    Labels never hold what a client made up: a route is only counted by its name where there is
    one of that name, so that the number of series stays bounded.
    """

    def __init__(
        self,
        engines: Callable[[], Iterable[EngineFigures]],
        records_waiting: Callable[[], int],
        breakers: Callable[[], Mapping[str, State]],
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ecluse_requests",
            "Requests by answered model and status.",
            ["route", "model", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ecluse_request_seconds",
            "Seconds from arrival to the end of the answer.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._first_token = Histogram(
            "ecluse_first_token_seconds",
            "Seconds from arrival to the first committed token.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._attempts = Counter(
            "ecluse_attempts",
            "Calls of deployments by outcome.",
            ["deployment", "outcome"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "ecluse_tokens",
            "Tokens by deployment, kind and how they were counted.",
            ["deployment", "kind", "source"],
            registry=self._registry,
        )
        self._children: dict[tuple[Any, ...], Any] = {}
        self._registry.register(_Readings(engines, records_waiting, breakers))
        ProcessCollector(registry=self._registry)

    def observe_request(self, note: RequestNote) -> None:
        """Count a request that is over."""
        answered = note.model is not None
        route = note.route if answered or note.route_exists else ""
        model = note.model if answered else ""
        self._child(self._requests, route, model, str(note.status)).inc()
        if answered:
            self._child(self._seconds, model).observe(note.duration_us / US_PER_S)
            if note.first_token_us is not None:
                self._child(self._first_token, model).observe(note.first_token_us / US_PER_S)

    def observe_attempt(self, record: AttemptRecord) -> None:
        """Count a settled attempt."""
        deployment, usage = record.deployment, record.usage
        self._child(self._attempts, deployment, record.outcome.value).inc()
        prompt = self._child(self._tokens, deployment, "prompt", usage.source)
        prompt.inc(usage.prompt_tokens)
        completion = self._child(self._tokens, deployment, "completion", usage.source)
        completion.inc(usage.completion_tokens)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def _child(self, metric: Any, *labels: str | None) -> Any:
        """``metric.labels(...)`` builds and locks each time; its children are worth keeping."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


class _Readings:
    """Figures that are read when asked for, not counted as they happen."""

    def __init__(
        self,
        engines: Callable[[], Iterable[EngineFigures]],
        records_waiting: Callable[[], int],
        breakers: Callable[[], Mapping[str, State]],
    ) -> None:
        self._engines = engines
        self._records_waiting = records_waiting
        self._breakers = breakers

    def describe(self) -> Iterator[Metric]:
        """Nothing to announce; without this the registry would collect once at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read them now."""
        yield GaugeMetricFamily(
            "ecluse_ledger_records_waiting",
            "Settled attempts not yet written.",
            value=self._records_waiting(),
        )
        cpu = CounterMetricFamily(
            "ecluse_engine_cpu_seconds",
            "CPU seconds of an embedded engine.",
            labels=["deployment"],
        )
        memory = GaugeMetricFamily(
            "ecluse_engine_resident_bytes",
            "Resident memory of an embedded engine.",
            labels=["deployment"],
        )
        for engine in self._engines():
            cpu.add_metric([engine.deployment], engine.cpu_seconds)
            memory.add_metric([engine.deployment], engine.resident_bytes)
        yield cpu
        yield memory
        breakers = GaugeMetricFamily(
            "ecluse_breaker_open",
            "Deployments left alone after failures: 1 open, 0.5 half-open; the others are closed.",
            labels=["deployment"],
        )
        for deployment, state in self._breakers().items():
            breakers.add_metric([deployment], 1.0 if state is State.OPEN else 0.5)
        yield breakers
