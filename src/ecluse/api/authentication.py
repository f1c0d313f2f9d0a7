"""The key a client sends: ``Authorization: Bearer`` or ``x-api-key``."""

from __future__ import annotations

from ecluse.api.exchange import Exchange
from ecluse.api.serving import Serving
from ecluse.domain.values.account import Account

US_PER_S = 1_000_000


def authenticate(exchange: Exchange, serving: Serving) -> Account:
    """Who sends the request. Raises NotAuthenticated."""
    presented = exchange.header(b"authorization") or exchange.header(b"x-api-key")
    return serving.accounts.authenticate(presented, serving.clock.unix_us() // US_PER_S)
