"""Dates and durations as people type and read them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from ecluse.domain.errors import InvalidRequest

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,10})([smhdw])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def duration_s(text: str) -> int:
    """Seconds of a duration such as ``30d``, ``12h``, ``2w``, ``45m`` or ``90s``."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None and _DURATION.fullmatch(text.strip().lower().lstrip("-")):
        raise InvalidRequest(
            f"{text!r} is a time that has passed.", next_step="Write one to come, like 30d or 12h."
        )
    if match is None:
        raise InvalidRequest(
            f"{text!r} is not a duration.", next_step="Write one like 30d, 12h, 45m or 2w."
        )
    return int(match[1]) * _UNIT_S[match[2]]


def moment_us(text: str, now_us: int, *, end_of_day: bool = False) -> int:
    """Unix microseconds of a UTC date such as ``2026-11-24``, or of a duration before now.

    A date means the day's first moment, or with ``end_of_day`` the first one after it.
    """
    if _DURATION.fullmatch(text.strip().lower()):
        return now_us - duration_s(text) * 1_000_000
    try:
        day = date.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidRequest(
            f"{text!r} is neither a date nor a duration.",
            next_step="Write a date like 2026-11-24, or how long ago, like 7d or 12h.",
        ) from error
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return (start - _EPOCH + timedelta(days=1 if end_of_day else 0)) // _US


def iso(unix_s: int) -> str:
    """A Unix time in UTC, as ISO 8601 writes it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(unix_s: int | None) -> str | None:
    """The same, where there may be no time."""
    return None if unix_s is None else iso(unix_s)


def minute(unix_s: int) -> str:
    """A Unix time in UTC to the minute, for tables."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
