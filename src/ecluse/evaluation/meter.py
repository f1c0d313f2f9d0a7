"""Reads a gateway's ``/metrics``: what strategies used is the difference of two readings."""

from __future__ import annotations

from collections import Counter

import msgspec
from prometheus_client.parser import text_string_to_metric_families


class Reading(msgspec.Struct, frozen=True):
    """Totals since the gateway started. ``cpu_seconds`` are those of its embedded engines."""

    cpu_seconds: float
    calls: int
    prompt_tokens: int
    completion_tokens: int

    def since(self, before: Reading) -> Reading:
        """What was used between two readings."""
        return Reading(
            self.cpu_seconds - before.cpu_seconds,
            self.calls - before.calls,
            self.prompt_tokens - before.prompt_tokens,
            self.completion_tokens - before.completion_tokens,
        )


def read_metrics(text: str) -> Reading:
    """Sum the samples that matter over all deployments."""
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kind = sample.labels.get("kind", "")
            totals[f"{sample.name} {kind}".strip()] += sample.value  # type: ignore[assignment]
    return Reading(
        totals["ecluse_engine_cpu_seconds_total"],
        round(totals["ecluse_attempts_total"]),
        round(totals["ecluse_tokens_total prompt"]),
        round(totals["ecluse_tokens_total completion"]),
    )
