"""How many requests may be sent a second time because the first is slow to begin. Pure."""

from __future__ import annotations

import msgspec

MOST_SAVED = 10.0
ONE = 1 - 1e-9
"""Ten times a tenth is a little less than one in floating point."""


class HedgeBudget(msgspec.Struct, frozen=True):
    """Each request earns ``share`` of a hedge, a hedge costs one; at most ten are saved up.

    So over any n requests there are at most ``share * n + 10`` hedges.
    """

    share: float
    saved: float = 0.0

    def earned(self) -> HedgeBudget:
        """The budget after a request."""
        return HedgeBudget(self.share, min(self.saved + self.share, MOST_SAVED))

    def spent(self) -> HedgeBudget | None:
        """The budget after a hedge; None where there is none left."""
        if self.saved < ONE:
            return None
        return HedgeBudget(self.share, max(0.0, self.saved - 1))
