"""Amounts are integers: nano-units of a named currency."""

from __future__ import annotations

import msgspec

TOKENS_PER_QUOTE = 1_000_000


class Money(msgspec.Struct, frozen=True):
    """``nano`` billionths of one unit of ``currency`` (ISO 4217)."""

    nano: int
    currency: str


class PriceTerms(msgspec.Struct, frozen=True):
    """What a deployment charges: nano-units of ``currency`` per million tokens of each kind.

    ``cached_nano`` is the price of prompt tokens read from the upstream's cache.
    """

    currency: str
    prompt_nano: int
    completion_nano: int
    cached_nano: int
