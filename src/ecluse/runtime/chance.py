"""Randomness from the clock's port."""

from __future__ import annotations

from ecluse.ports import Clock

BYTES = 4
MOST = 0xFFFF_FFFF


def share(clock: Clock) -> float:
    """A number drawn evenly from 0 to 1."""
    drawn = int.from_bytes(clock.random_bytes(BYTES), "big")
    return drawn / MOST
