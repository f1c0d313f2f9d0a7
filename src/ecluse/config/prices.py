"""Prices of the file -> exact integers of the ledger."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation

from ecluse.config.schema import Price
from ecluse.domain.values.money import PriceTerms

MOST_PER_MILLION = 1_000_000
"""More than one unit for a single token is a mistake, not a price."""

# Wide enough for every amount within the limits; what does not fit is refused, never rounded.
_EXACT = Context(prec=64, traps=[Inexact, InvalidOperation])


def nano_per_million(amount: Decimal) -> int:
    """Nano-units of an amount. Raises ValueError, with the reason in words, where it has none."""
    if not amount.is_finite():
        raise ValueError("expected a finite amount")
    if amount < 0:
        raise ValueError("a price cannot be negative")
    if amount > MOST_PER_MILLION:
        raise ValueError(f"expected at most {MOST_PER_MILLION} for a million tokens")
    try:
        nano = amount.scaleb(9, _EXACT)
    except (Inexact, InvalidOperation):
        nano = Decimal("0.5")
    if nano != nano.to_integral_value():
        raise ValueError("an amount has at most nine decimal places (a nano-unit)")
    return int(nano)


def terms_of(price: Price) -> PriceTerms:
    """The ledger's terms. Raises ValueError as ``nano_per_million`` does; a loaded one never."""
    cached = price.cached_per_million
    return PriceTerms(
        currency=price.currency,
        prompt_nano=nano_per_million(price.prompt_per_million),
        completion_nano=nano_per_million(price.completion_per_million),
        cached_nano=nano_per_million(price.prompt_per_million if cached is None else cached),
    )
