"""Reads a gateway's ``/metrics``: what a measurement used is the difference of two readings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
from prometheus_client.parser import text_string_to_metric_families

OPERATIONS_PER_PARAMETER_AND_TOKEN = 2
"""One multiplication and one addition (Kaplan et al. 2020, section 2.1), attention left out."""


class Used(msgspec.Struct, frozen=True):
    """What was used. ``cpu_seconds`` are user and system time of embedded engines."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cpu_seconds: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cpu_seconds + other.cpu_seconds,
        )

    def __sub__(self, other: Used) -> Used:
        return Used(
            self.calls - other.calls,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.cpu_seconds - other.cpu_seconds,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


NOTHING = Used()


class Reading(msgspec.Struct, frozen=True):
    """What each deployment has used since the gateway started."""

    by_deployment: dict[str, Used]

    def since(self, before: Reading) -> Reading:
        """What was used between two readings."""
        return Reading(
            {
                name: used - before.by_deployment.get(name, NOTHING)
                for name, used in self.by_deployment.items()
            }
        )

    def only(self, deployments: Mapping[str, object]) -> Reading:
        """What these deployments have used; others are somebody else's."""
        return Reading({n: used for n, used in self.by_deployment.items() if n in deployments})

    def total(self) -> Used:
        """All deployments together."""
        return sum(self.by_deployment.values(), NOTHING)

    def compute_flop(self, parameters: Mapping[str, int]) -> int:
        """Floating-point operations of all tokens, given each deployment's parameters."""
        return sum(
            OPERATIONS_PER_PARAMETER_AND_TOKEN * parameters[name] * used.tokens
            for name, used in self.by_deployment.items()
        )


def read_metrics(text: str) -> Reading:
    """Sum the samples that matter by deployment."""
    found: dict[str, Used] = defaultdict(Used)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.labels.get("deployment")
            if name is not None:
                found[name] += _used(sample.name, sample.labels.get("kind"), sample.value)
    return Reading(dict(found))


def _used(metric: str, kind: str | None, value: float) -> Used:
    match metric, kind:
        case ("ecluse_engine_cpu_seconds_total", _):
            return Used(cpu_seconds=value)
        case ("ecluse_attempts_total", _):
            return Used(calls=round(value))
        case ("ecluse_tokens_total", "prompt"):
            return Used(prompt_tokens=round(value))
        case ("ecluse_tokens_total", "completion"):
            return Used(completion_tokens=round(value))
    return NOTHING
