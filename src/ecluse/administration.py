"""What an operator does, the same from the command line and over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ecluse.domain.errors import InvalidRequest
from ecluse.domain.values.keys import (
    ID_BYTES,
    SECRET_BYTES,
    StoredKey,
    compose,
    hash_secret,
    take_apart,
)
from ecluse.ports import Clock, Keys

NAME_CHARACTERS_AT_MOST = 100
LIFETIME_AT_MOST_S = 100 * 365 * 86_400
PREFIX_CHARACTERS_AT_LEAST = 4
"""A shorter beginning of an id is more likely a slip than a choice."""

_SEE_LIST = "`ecluse keys list` shows all keys."


class KeyAdministration:
    """Makes, lists and revokes keys."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def create(
        self, name: str, routes: Iterable[str] | None, expires_in_s: int | None
    ) -> tuple[StoredKey, str]:
        """Make a key and return it with its text, which exists nowhere else from then on.

        ``routes`` None allows every route; ``expires_in_s`` None never ends. Names need not be
        unique. Raises InvalidRequest.
        """
        now_s = self._now_s()
        key_id, secret, text = compose(self._clock.random_bytes(ID_BYTES + SECRET_BYTES))
        key = StoredKey(
            key_id=key_id,
            name=_checked_name(name),
            secret_sha256=hash_secret(secret),
            created_at_s=now_s,
            routes=_checked_routes(routes),
            expires_at_s=None if expires_in_s is None else now_s + _checked_lifetime(expires_in_s),
        )
        await self._keys.add(key)
        return key, text

    async def list(self) -> Sequence[StoredKey]:
        """Every key, revoked and expired ones included, oldest first."""
        return await self._keys.all()

    async def revoke(self, which: str) -> StoredKey:
        """Revoke the key of an id, the unique beginning of one, a name, or a whole key's text.

        Of several keys of one name, those already revoked do not count. Raises InvalidRequest
        where none or several are meant, or where it is revoked already.
        """
        found = _meant(which.strip(), await self._keys.all())
        if not found:
            raise InvalidRequest(f"There is no key {_shown(which)}.", next_step=_SEE_LIST)
        valid = [key for key in found if key.revoked_at_s is None]
        if not valid:
            ids = ", ".join(key.key_id for key in found)
            raise InvalidRequest(f"The key {ids} is revoked already.", next_step=_SEE_LIST)
        if len(valid) > 1:
            ids = ", ".join(key.key_id for key in valid)
            raise InvalidRequest(
                f"{_shown(which)} means {len(valid)} keys: {ids}.", next_step="Name one by its id."
            )
        now_s = self._now_s()
        await self._keys.revoke(valid[0].key_id, now_s)
        return msgspec.structs.replace(valid[0], revoked_at_s=now_s)

    def _now_s(self) -> int:
        return self._clock.unix_us() // 1_000_000


def _meant(which: str, keys: Sequence[StoredKey]) -> Sequence[StoredKey]:
    presented = take_apart(which)
    key_id = which if presented is None else presented.key_id
    exact = [key for key in keys if key.key_id == key_id]
    long_enough = len(which) >= PREFIX_CHARACTERS_AT_LEAST
    return exact or [
        key
        for key in keys
        if key.name == which or (long_enough and key.key_id.startswith(which.lower()))
    ]


def _shown(which: str) -> str:
    """What was typed, unless it is a key: a secret is never repeated."""
    return "of that text" if take_apart(which.strip()) else repr(which)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_AT_MOST or not name.isprintable():
        raise InvalidRequest(
            f"A key's name has 1 to {NAME_CHARACTERS_AT_MOST} printable characters.", param="name"
        )
    return name


def _checked_routes(routes: Iterable[str] | None) -> frozenset[str] | None:
    if routes is None:
        return None
    names = frozenset(routes)
    if not names or not all(name and name.isprintable() for name in names):
        raise InvalidRequest(
            "A key's routes are names of at least one route.",
            next_step="Leave them out for a key that may use every route.",
            param="routes",
        )
    return names


def _checked_lifetime(expires_in_s: int) -> int:
    if not 0 < expires_in_s <= LIFETIME_AT_MOST_S:
        raise InvalidRequest(
            "A key lives for at least a second and at most a hundred years.", param="expires_in_s"
        )
    return expires_in_s
