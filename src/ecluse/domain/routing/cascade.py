"""When an answer is good enough: evidence in, verdict out. Pure.

The evidence is the least token log-probability of the answer so far: the token the model was
least sure of. It can only fall, so a rise is decided as soon as it is below the threshold.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

from ecluse.domain.catalog.deployments import Acceptance
from ecluse.domain.values.answer import Events


class Verdict(Enum):
    """What to do with the events held so far."""

    HOLD = "hold"
    """Not enough evidence yet: keep them back."""
    COMMIT = "commit"
    """Good enough: they and all that follow are the client's."""
    RISE = "rise"
    """Not good enough: drop them and ask the next stage."""


HELD_BYTES_AT_MOST = 4 * 1024 * 1024
"""An answer that grows beyond this while it is held is not waited for: memory is bounded."""


class Evidence(msgspec.Struct, frozen=True):
    """What an answer has shown so far. ``least_logprob`` None means no token showed one."""

    least_logprob: float | None = None
    bytes_seen: int = 0

    def with_events(self, events: Events) -> Evidence:
        """The evidence after more events."""
        least, bytes_seen = self.least_logprob, self.bytes_seen
        for event in events:
            bytes_seen += len(event.raw)
            for piece in event.choices:
                if piece.least_logprob is not None:
                    least = (
                        piece.least_logprob if least is None else min(least, piece.least_logprob)
                    )
        return Evidence(least, bytes_seen)


def consider(acceptance: Acceptance, evidence: Evidence, *, ended: bool) -> Verdict:
    """Decide about a stage's answer; ``ended`` means that it is whole.

    An answer without any log-probability has shown no evidence, so a stage that asks for some
    rises.
    """
    threshold = acceptance.least_logprob
    if threshold is None:
        return Verdict.COMMIT
    least = evidence.least_logprob
    if least is not None and (least < threshold or math.isnan(least)):
        return Verdict.RISE
    if not ended:
        return Verdict.HOLD if evidence.bytes_seen <= HELD_BYTES_AT_MOST else Verdict.RISE
    return Verdict.RISE if least is None else Verdict.COMMIT
