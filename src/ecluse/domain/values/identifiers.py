"""Typed, time-sortable identifiers (UUIDv7, RFC 9562 section 5.7)."""

from __future__ import annotations

from typing import NewType

RequestId = NewType("RequestId", str)
AttemptId = NewType("AttemptId", str)
KeyId = NewType("KeyId", str)

RANDOM_BYTES = 10


def uuid7(time_ms: int, randomness: bytes) -> str:
    """Return a UUIDv7 as 32 hexadecimal digits without dashes.

    ``time_ms`` is Unix time in milliseconds, ``randomness`` is ten random bytes of which
    74 bits are used. Sorting the texts sorts by time.
    """
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"uuid7 needs {RANDOM_BYTES} random bytes, got {len(randomness)}")
    random = int.from_bytes(randomness, "big")
    value = (time_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return f"{value:032x}"
