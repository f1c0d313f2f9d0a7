"""The machine's own clock and randomness."""

from __future__ import annotations

import os
import time


class SystemClock:
    """The real Clock."""

    def unix_us(self) -> int:
        """Unix time in microseconds; may jump when the machine's time is set."""
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        """A clock that never goes back, in nanoseconds."""
        return time.monotonic_ns()

    def random_bytes(self, count: int) -> bytes:
        """Bytes from the operating system's generator, fit for secrets."""
        return os.urandom(count)
