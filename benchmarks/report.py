"""What the rounds come to: medians with their spread, ratios, and the project's targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.machine import Machine
from benchmarks.measure import Round
from benchmarks.targets import OWN


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
    """All rounds of one target, asked in one way."""

    version: str
    rate: float
    rounds: list[Round]

    def spread(self, name: str) -> Spread:
        """The spread of one of `FIGURES` over the rounds."""
        return Spread.of(self.values(name))

    def values(self, name: str) -> list[float]:
        """One of `FIGURES`, round by round."""
        figure = next(figure for figure in FIGURES if figure.name == name)
        return [figure.read(one) for one in self.rounds]


# What the cascade adds is the difference to these, whose upstream sends the same.
CASCADE, SAME_BYTES, WITHOUT_LOGPROBS = "cascade", "direct-logprobs", "direct"
ADDED_AT_MOST = [
    ("request_us", 60, "µs CPU a request that the cascade adds"),
    ("chunk_us", 15, "µs CPU a chunk that the cascade adds"),
]


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
    rounds: int
    measured: dict[str, Measured]
    missing: dict[str, str]
    """Targets that could not be measured here, and why."""
    broken: dict[str, str]
    """Targets that began and did not come to their end, and why."""
    help_s: float | None = None

    def ratio(self, name: str, over: str, under: str) -> float | None:
        """How many times the one's median is the other's, where both were measured."""
        if over not in self.measured or under not in self.measured:
            return None
        least = self.measured[under].spread(name).median
        return self.measured[over].spread(name).median / least if least > 0 else None

    def added(self, name: str, over: str = CASCADE, under: str = SAME_BYTES) -> Spread | None:
        """How much more the one takes than the other, in the same process and the same half of a
        round, where both were measured.
        """
        if over not in self.measured or under not in self.measured:
            return None
        pairs = zip(
            self.measured[over].values(name), self.measured[under].values(name), strict=True
        )
        return Spread.of([more - less for more, less in pairs])

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
        for name, limit, unit in ADDED_AT_MOST:
            spread = self.added(name)
            if spread is not None:
                text, met = f"≤ {limit:g} {unit}", spread.median <= limit
                found.append(Goal(text, f"{spread.median:.1f}", met))
        ratio = self.ratio("request_us", "litellm", "ecluse")
        if ratio is not None:
            found.append(
                Goal("≥ 35 × cheaper a request than LiteLLM", f"{ratio:.0f} ×", ratio >= 35)
            )
        if self.help_s is not None:
            text, taken = "≤ 0.4 s for `ecluse --help`", f"{self.help_s:.2f} s"
            found.append(Goal(text, taken, self.help_s <= 0.4))
        return found

    def others_share(self) -> float:
        """The most of the gateway's core that went to something else in any round, in [0, 1]."""
        rounds = (one for measured in self.measured.values() for one in measured.rounds)
        return max((one.others_share for one in rounds), default=0.0)

    def is_well(self) -> bool:
        """Whether all that was asked for could be told, and every goal that can be told is met.

        What a machine lacks (nginx, LiteLLM) is no fault; that we cannot measure ourselves is.
        """
        met = all(goal.met for goal in self.goals())
        return met and not (self.failures() or self.broken or OWN.intersection(self.missing))

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
