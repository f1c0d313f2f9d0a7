"""The circuit breaker of a deployment, as a transition table. Pure.

It opens after failures in a row, lets one request through now and then to see whether the
deployment is back, and closes when that succeeds. What a client does wrong is no failure of the
deployment: it never opens a breaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from ecluse.domain.errors import (
    EcluseError,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)

FAILURES_TO_OPEN = 3
FIRST_PAUSE_US = 1_000_000
LONGEST_PAUSE_US = 60_000_000
LONGEST_RETRY_AFTER_US = 3_600_000_000
PROBE_EVERY_US = 5_000_000
"""How often a half-open breaker lets a request through while no answer has come."""

US_PER_S = 1_000_000


class State(Enum):
    """What a breaker lets through."""

    CLOSED = "closed"
    """Everything."""
    OPEN = "open"
    """Nothing, until its pause is over."""
    HALF_OPEN = "half_open"
    """One request, to see."""


class Signal(Enum):
    """What a breaker is told."""

    SUCCEEDED = "succeeded"
    SUCCEEDED_MEANWHILE = "succeeded_meanwhile"
    """It had begun before the deployment asked to be left alone, and that time is not over."""
    FAILED = "failed"
    FAILED_ONCE_TOO_OFTEN = "failed_once_too_often"
    BUSY = "busy"
    """The deployment itself asked to be left alone for a while."""
    PAUSE_OVER = "pause_over"


TRANSITIONS: Mapping[tuple[State, Signal], State] = {
    (State.CLOSED, Signal.SUCCEEDED): State.CLOSED,
    (State.CLOSED, Signal.SUCCEEDED_MEANWHILE): State.CLOSED,
    (State.CLOSED, Signal.FAILED): State.CLOSED,
    (State.CLOSED, Signal.FAILED_ONCE_TOO_OFTEN): State.OPEN,
    (State.CLOSED, Signal.BUSY): State.OPEN,
    (State.CLOSED, Signal.PAUSE_OVER): State.CLOSED,
    # Answers of requests that began before it opened: one that arrives says that it is back.
    (State.OPEN, Signal.SUCCEEDED): State.CLOSED,
    (State.OPEN, Signal.SUCCEEDED_MEANWHILE): State.OPEN,
    (State.OPEN, Signal.FAILED): State.OPEN,
    (State.OPEN, Signal.FAILED_ONCE_TOO_OFTEN): State.OPEN,
    (State.OPEN, Signal.BUSY): State.OPEN,
    (State.OPEN, Signal.PAUSE_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Signal.SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Signal.SUCCEEDED_MEANWHILE): State.CLOSED,
    (State.HALF_OPEN, Signal.FAILED): State.OPEN,
    (State.HALF_OPEN, Signal.FAILED_ONCE_TOO_OFTEN): State.OPEN,
    (State.HALF_OPEN, Signal.BUSY): State.OPEN,
    (State.HALF_OPEN, Signal.PAUSE_OVER): State.HALF_OPEN,
}


class Breaker(msgspec.Struct, frozen=True):
    """Times are microseconds of one clock. ``failures`` counts those in a row, ``openings`` how
    often it opened since it last was closed; ``until_us`` is when the pause is over,
    ``asked_until_us`` until when the deployment itself asked to be left alone, and
    ``probed_at_us`` when the last request was let through to see.
    """

    state: State = State.CLOSED
    failures: int = 0
    openings: int = 0
    until_us: int = 0
    probed_at_us: int | None = None
    asked_until_us: int = 0

    def at(self, now_us: int) -> Breaker:
        """The breaker once time has passed."""
        if self.state is State.OPEN and now_us >= self.until_us:
            state = TRANSITIONS[self.state, Signal.PAUSE_OVER]
            return msgspec.structs.replace(self, state=state, probed_at_us=None)
        return self

    def lets_through(self, now_us: int) -> bool:
        """Whether a request may be sent now."""
        breaker = self.at(now_us)
        if breaker.state is State.HALF_OPEN:
            probed = breaker.probed_at_us
            return probed is None or now_us - probed >= PROBE_EVERY_US
        return breaker.state is State.CLOSED

    def probed(self, now_us: int) -> Breaker:
        """The breaker after a request was let through."""
        breaker = self.at(now_us)
        if breaker.state is not State.HALF_OPEN:
            return breaker
        return msgspec.structs.replace(breaker, probed_at_us=now_us)

    def wait_us(self, now_us: int) -> int:
        """How long until a request may be sent; 0 where it may be now."""
        if self.lets_through(now_us):
            return 0
        if self.state is State.OPEN:
            return max(0, self.until_us - now_us)
        return max(0, (self.probed_at_us or now_us) + PROBE_EVERY_US - now_us)

    def succeeded(self, now_us: int) -> Breaker:
        """The breaker after an answer came."""
        breaker, until_us = self.at(now_us), self.asked_until_us
        meanwhile = now_us < until_us
        signal = Signal.SUCCEEDED_MEANWHILE if meanwhile else Signal.SUCCEEDED
        if TRANSITIONS[breaker.state, signal] is State.CLOSED:
            return CLOSED
        return Breaker(State.OPEN, until_us=until_us, asked_until_us=until_us)

    def failed(self, now_us: int, share: float) -> Breaker:
        """The breaker after a failure; ``share`` from 0 to 1 is drawn at random, so that not
        everybody comes back in the same moment.
        """
        breaker = self.at(now_us)
        failures = breaker.failures + 1
        too_often = failures >= FAILURES_TO_OPEN
        signal = Signal.FAILED_ONCE_TOO_OFTEN if too_often else Signal.FAILED
        state = TRANSITIONS[breaker.state, signal]
        if state is not State.OPEN or breaker.state is State.OPEN:
            return msgspec.structs.replace(breaker, failures=failures)
        pause_us = min(FIRST_PAUSE_US << min(breaker.openings, 16), LONGEST_PAUSE_US)
        until_us = now_us + pause_us // 2 + round(pause_us / 2 * share)
        return Breaker(state, failures, breaker.openings + 1, until_us)

    def busy(self, now_us: int, wait_us: int) -> Breaker:
        """The breaker after the deployment asked to be left alone for so long (Retry-After)."""
        breaker = self.at(now_us)
        asked_until_us = now_us + min(wait_us, LONGEST_RETRY_AFTER_US)
        return Breaker(
            TRANSITIONS[breaker.state, Signal.BUSY],
            breaker.failures,
            breaker.openings,
            until_us=max(asked_until_us, breaker.until_us),
            asked_until_us=max(asked_until_us, breaker.asked_until_us),
        )


CLOSED = Breaker()

TOO_MANY = 429
REFUSALS_OF_OURS = frozenset({401, 402, 403, 404, 408})
"""Refusals that are about us or the deployment, whoever asks."""


def after(breaker: Breaker, error: EcluseError | None, now_us: int, share: float) -> Breaker:
    """The breaker after an attempt ended, with its error if it failed. A client's own mistake
    shows that the deployment is there.
    """
    if error is None:
        return breaker.succeeded(now_us)
    if not isinstance(error, UpstreamError):
        return breaker
    # Where nobody answered, the time is our guess.
    asked_for_s = None if isinstance(error, UpstreamUnreachable) else error.retry_after_s
    if isinstance(error, UpstreamRefused):
        if error.upstream_status == TOO_MANY:
            wait_us = FIRST_PAUSE_US if asked_for_s is None else asked_for_s * US_PER_S
            return breaker.busy(now_us, wait_us)
        if error.upstream_status not in REFUSALS_OF_OURS:
            return breaker.succeeded(now_us)
    if asked_for_s:
        return breaker.busy(now_us, asked_for_s * US_PER_S)
    return breaker.failed(now_us, share)
