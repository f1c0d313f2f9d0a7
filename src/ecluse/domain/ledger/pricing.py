"""The price of one attempt."""

from __future__ import annotations

from ecluse.domain.values.money import TOKENS_PER_QUOTE, Money, PriceTerms
from ecluse.domain.values.usage import Usage


def price(usage: Usage, terms: PriceTerms | None) -> Money | None:
    """Return what ``usage`` costs under ``terms``, or None where the price is unknown.

    Rounded once, half up, to whole nano-units. Unknown is not zero: a deployment without terms
    has no price.
    """
    if terms is None:
        return None
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    total = (
        (usage.prompt_tokens - cached) * terms.prompt_nano
        + cached * terms.cached_nano
        + usage.completion_tokens * terms.completion_nano
    )
    return Money((total + TOKENS_PER_QUOTE // 2) // TOKENS_PER_QUOTE, terms.currency)
