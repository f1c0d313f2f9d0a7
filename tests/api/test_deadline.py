"""The client's own deadline, as it is written in a header."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.api.deadline import LATEST_S, read_deadline
from ecluse.domain.errors import InvalidRequest


def test_no_header_is_no_deadline() -> None:
    """Then the answer may take its time."""
    assert read_deadline(None) is None


@given(us=st.integers(0, int(LATEST_S) * 1_000_000))
def test_unix_seconds(us: int) -> None:
    """Down to the microsecond in our time, as near as a float comes in a far one."""
    written = str(Decimal(us) / 1_000_000).encode()
    deadline = read_deadline(written)
    assert deadline is not None
    near_us = 1 if us < 4_000_000_000_000_000 else us // 10**15
    assert abs(deadline - us) <= near_us


@pytest.mark.parametrize(
    ("header", "us"),
    [
        (b"1767225600", 1_767_225_600_000_000),
        (b"1767225600.5", 1_767_225_600_500_000),
        (b" 1767225600 ", 1_767_225_600_000_000),
        (b"1.7672256e9", 1_767_225_600_000_000),
        (b"0", 0),
        (b"1", 1_000_000),
    ],
)
def test_how_it_may_be_written(header: bytes, us: int) -> None:
    """One that is past is a deadline too: it is refused when the request is."""
    assert read_deadline(header) == us


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"soon",
        b"nan",
        b"inf",
        b"-inf",
        b"-1",
        b"1e400",
        b"1767225600000",
        b"2026-01-01T00:00:00Z",
        b"0x10",
        b"17,5",
        b"1767225600 GMT",
        b"\xff",
        b"\xd9\xa1",
        b"9" * 100_000,
    ],
)
def test_what_is_no_time_is_refused(header: bytes) -> None:
    """Milliseconds, dates, words and nonsense, naming the header."""
    with pytest.raises(InvalidRequest, match="x-ecluse-deadline") as refusal:
        read_deadline(header)
    assert refusal.value.param == "x-ecluse-deadline"


@given(header=st.binary(max_size=12))
def test_any_bytes_are_a_time_or_refused(header: bytes) -> None:
    """Nothing else comes of them."""
    try:
        deadline = read_deadline(header)
    except InvalidRequest:
        return
    assert deadline is not None
    assert 0 <= deadline <= LATEST_S * 1_000_000
