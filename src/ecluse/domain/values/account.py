"""Who asks: a key and what it may do."""

from __future__ import annotations

import msgspec

from ecluse.domain.values.identifiers import KeyId


class Account(msgspec.Struct, frozen=True):
    """The holder of a valid key. ``routes`` None means every route."""

    key_id: KeyId
    name: str
    routes: frozenset[str] | None = None

    def may_use(self, route: str) -> bool:
        """Whether the key's scope contains the route."""
        return self.routes is None or route in self.routes
