"""How long to wait before everybody is asked once more. Pure."""

from __future__ import annotations

from ecluse.domain.errors import UpstreamError, UpstreamRefused

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
REPEATABLE_REFUSALS = frozenset({408, 409, 425, 429})


def is_worth_repeating(error: UpstreamError) -> bool:
    """Whether the same request may do better a moment later."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in REPEATABLE_REFUSALS
    return error.another_may_do


def pause_s(
    rounds: int, error: UpstreamError, all_closed_for_s: float, left_s: float, share: float
) -> float | None:
    """Seconds to wait before the next round, None to give up.

    ``rounds`` were made so far; the pause doubles each time and a ``share`` from 0 to 1, drawn at
    random, spreads it over its upper half. It is no shorter than what the error or the breakers
    (``all_closed_for_s``) ask for, and there is none where less than that is ``left_s``.
    """
    if not is_worth_repeating(error):
        return None
    pause = min(FIRST_PAUSE_S * 2.0 ** min(rounds, 16), LONGEST_PAUSE_S)
    pause *= 0.5 + share / 2
    asked_for = float(error.retry_after_s or 0) if _is_told(error) else 0.0
    pause = max(pause, all_closed_for_s, asked_for)
    return pause if pause < left_s else None


def _is_told(error: UpstreamError) -> bool:
    """Whether the pause is the upstream's own word, not our guess."""
    return error.code != "upstream_unreachable"
