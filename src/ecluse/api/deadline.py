"""The client's own deadline: ``x-ecluse-deadline``, Unix seconds."""

from __future__ import annotations

import math

from ecluse.domain.errors import InvalidRequest

US_PER_S = 1_000_000
LATEST_S = 1e11
"""Some three thousand years away: whoever sends more has sent milliseconds."""


def read_deadline(header: bytes | None) -> int | None:
    """The Unix time in microseconds by which an answer must have begun. Raises InvalidRequest."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LATEST_S:
        raise InvalidRequest(
            "x-ecluse-deadline is not a Unix time in seconds.",
            next_step="Send it like 1767225600 or 1767225600.5, or leave it out.",
            param="x-ecluse-deadline",
        )
    return round(seconds * US_PER_S)
