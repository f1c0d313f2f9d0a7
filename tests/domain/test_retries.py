"""How long to wait before everybody is asked once more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ecluse.domain.fleet.retries import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    is_worth_repeating,
    pause_s,
)

SHARES = st.floats(0, 1)
SECONDS = st.floats(0, 1e4)
FAILED = UpstreamFailed("500")
PASSING: tuple[UpstreamError, ...] = (
    FAILED,
    UpstreamUnreachable("away"),
    UpstreamGarbage("what"),
    UpstreamTruncated("broke off"),
    UpstreamSilent("nothing"),
)


def refused(status: int, retry_after_s: int | None = None) -> UpstreamRefused:
    """An upstream's 4xx."""
    return UpstreamRefused("No.", upstream_status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize("error", PASSING)
def test_what_may_pass_is_worth_repeating(error: UpstreamError) -> None:
    """Whatever kind of failure it is."""
    assert is_worth_repeating(error)
    assert pause_s(0, error, 0, 10, 0.5) is not None


@pytest.mark.parametrize("status", range(400, 500))
def test_refusals_that_a_moment_mends(status: int) -> None:
    """Time-outs, conflicts and full queues; what is wrong with a request or a key stays so."""
    assert is_worth_repeating(refused(status)) == (status in (408, 409, 425, 429))
    if not is_worth_repeating(refused(status)):
        assert pause_s(0, refused(status, 1), 0, 10, 0.5) is None


@given(rounds=st.integers(0, 10**6), share=SHARES)
def test_pauses_double_within_bounds(rounds: int, share: float) -> None:
    """From a quarter of a second to four, the upper half of each drawn by chance."""
    pause = pause_s(rounds, FAILED, 0, 1e9, share)
    full = min(FIRST_PAUSE_S * 2 ** min(rounds, 100), LONGEST_PAUSE_S)
    assert pause == pytest.approx(full * (1 + share) / 2)
    assert pause is not None
    assert FIRST_PAUSE_S / 2 <= full / 2 <= pause <= full <= LONGEST_PAUSE_S


@given(
    rounds=st.integers(0, 20),
    closed_s=SECONDS,
    left_s=st.floats(-1e4, 1e4),
    share=SHARES,
    asked_s=st.none() | st.integers(0, 10_000),
    error=st.sampled_from([UpstreamFailed, UpstreamUnreachable, UpstreamRefused]),
)
def test_a_pause_is_long_enough_and_never_beyond_what_is_left(
    rounds: int,
    closed_s: float,
    left_s: float,
    share: float,
    asked_s: int | None,
    error: type[UpstreamError],
) -> None:
    """As long as the upstream and the breakers ask for, or none at all."""
    failure = (
        refused(429, asked_s)
        if error is UpstreamRefused
        else error("It failed.", retry_after_s=asked_s)
    )
    told_s = 0 if error is UpstreamUnreachable else asked_s or 0
    pause = pause_s(rounds, failure, closed_s, left_s, share)
    alone = pause_s(rounds, FAILED, 0, 1e9, share)
    assert alone is not None
    needed = max(alone, closed_s, told_s)
    assert pause == (needed if needed < left_s else None)


@given(seconds=st.integers(1, 100), share=SHARES)
def test_retry_after_is_honoured(seconds: int, share: float) -> None:
    """Never sooner; and not at all where the client would wait longer than it may."""
    for error in (refused(429, seconds), UpstreamFailed("503", retry_after_s=seconds)):
        pause = pause_s(0, error, 0, 1e9, share)
        assert pause is not None
        assert pause >= seconds
        assert pause_s(0, error, 0, seconds, share) is None


def test_our_own_guess_is_no_word_of_the_upstreams() -> None:
    """When an upstream cannot be reached, the Retry-After that clients get holds nobody up."""
    away = UpstreamUnreachable("It is away.", retry_after_s=60)
    assert pause_s(0, away, 0, 1, 1.0) == FIRST_PAUSE_S
