"""What the rounds come to: medians with their spread, ratios, and the project's targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.machine import Machine
from benchmarks.measure import Round


class Spread(msgspec.Struct, frozen=True):
    """The median of some rounds, between the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


class Figure(msgspec.Struct, frozen=True):
    """One row of the table: what is read from a round, and how it is written."""

    name: str
    label: str
    unit: str
    digits: int
    read: Callable[[Round], float]


def _latency(share: str) -> Callable[[Round], float]:
    return lambda one: (one.requests.latency_ms or {}).get(share, float("nan"))


def _chunk_latency(share: str) -> Callable[[Round], float]:
    return lambda one: (one.streams.chunk_latency_ms or {}).get(share, float("nan"))


FIGURES = [
    Figure("request_us", "CPU per request", "µs", 0, lambda one: one.request_us),
    Figure("chunk_us", "CPU per SSE chunk", "µs", 0, lambda one: one.chunk_us),
    Figure("idle_mb", "Resident, idle", "MB", 0, lambda one: one.idle_mb),
    Figure("loaded_mb", "Resident, after the load", "MB", 0, lambda one: one.loaded_mb),
    Figure("ready_s", "Ready after", "s", 2, lambda one: one.ready_s),
    Figure("latency_p50_ms", "Request latency p50", "ms", 2, _latency("p50")),
    Figure("latency_p90_ms", "Request latency p90", "ms", 2, _latency("p90")),
    Figure("latency_p99_ms", "Request latency p99", "ms", 2, _latency("p99")),
    Figure("chunk_p50_ms", "Chunk latency p50", "ms", 2, _chunk_latency("p50")),
    Figure("chunk_p99_ms", "Chunk latency p99", "ms", 2, _chunk_latency("p99")),
    Figure("failures", "Failed requests and streams", "", 0, lambda one: float(one.failures)),
]


class Measured(msgspec.Struct, frozen=True):
    """All rounds of one target."""

    version: str
    rate: float
    rounds: list[Round]

    def spread(self, name: str) -> Spread:
        """The spread of one of `FIGURES` over the rounds."""
        figure = next(figure for figure in FIGURES if figure.name == name)
        return Spread.of([figure.read(one) for one in self.rounds])


class Goal(msgspec.Struct, frozen=True):
    """One of the project's targets, and what was measured."""

    text: str
    measured: str
    met: bool


class Report(msgspec.Struct, frozen=True):
    """Everything a run found out."""

    date: str
    command: str
    machine: Machine
    pinned: bool
    seconds: float
    measured: dict[str, Measured]
    missing: dict[str, str]
    help_s: float | None = None

    def ratio(self, name: str, over: str, under: str) -> float | None:
        """How many times the one's median is the other's, where both were measured."""
        if over not in self.measured or under not in self.measured:
            return None
        least = self.measured[under].spread(name).median
        return self.measured[over].spread(name).median / least if least > 0 else None

    def goals(self) -> list[Goal]:
        """The project's targets as far as this run can tell."""
        found: list[Goal] = []
        own = self.measured.get("ecluse")
        if own is not None:
            found += [
                _at_most(own, "request_us", 450, "µs CPU a request"),
                _at_most(own, "chunk_us", 100, "µs CPU a chunk"),
                _at_most(own, "loaded_mb", 120, "MB resident"),
                _at_most(own, "ready_s", 1.5, "s until ready", digits=2),
            ]
        ratio = self.ratio("request_us", "litellm", "ecluse")
        if ratio is not None:
            found.append(
                Goal("≥ 35 × cheaper a request than LiteLLM", f"{ratio:.0f} ×", ratio >= 35)
            )
        if self.help_s is not None:
            text, taken = "≤ 0.4 s for `ecluse --help`", f"{self.help_s:.2f} s"
            found.append(Goal(text, taken, self.help_s <= 0.4))
        return found

    def failures(self) -> dict[str, int]:
        """Requests and streams that failed, of the targets where some did."""
        counted = {
            name: sum(one.failures for one in measured.rounds)
            for name, measured in self.measured.items()
        }
        return {name: count for name, count in counted.items() if count}


def _at_most(own: Measured, name: str, limit: float, unit: str, digits: int = 0) -> Goal:
    median = own.spread(name).median
    return Goal(f"≤ {limit:g} {unit}", f"{median:.{digits}f}", median <= limit)
