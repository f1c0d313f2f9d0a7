"""How many requests may be sent a second time because the first is slow to begin. Pure."""

from __future__ import annotations

import msgspec

MOST_SAVED = 10.0


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
        return HedgeBudget(self.share, self.saved - 1) if self.saved >= 1 else None
