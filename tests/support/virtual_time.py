"""An event loop whose clock jumps to the next timer instead of waiting for it.

Sleeps and timeouts then take no time, last exactly as long as they say, and do not depend on how
busy the machine is. It is for tests without sockets, processes and threads: those take real time,
of which this clock knows nothing.
"""

from __future__ import annotations

import asyncio
import selectors


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Counts the seconds that it was to wait while nothing happened, and waits for none."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait only where no timer would ever end the waiting."""
        if timeout is None:
            return super().select(None)  # type: ignore[no-any-return]
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            self.now_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at second 0; ``time()`` passes only while everybody waits."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were slept since the loop was made."""
        return self._jumping.now_s
