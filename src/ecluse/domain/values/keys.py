"""API keys: how one is written, checked and stored.

A key reads ``ecl_<id>_<secret>``. The id is public and finds the key; the secret is 256 random
bits, so its plain SHA-256 can be stored, and it is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

import msgspec

from ecluse.domain.values.account import Account
from ecluse.domain.values.identifiers import KeyId

PREFIX = "ecl"
ID_BYTES = 6
SECRET_BYTES = 32

_WRITTEN = re.compile(f"{PREFIX}_([0-9a-f]{{{2 * ID_BYTES}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")


class StoredKey(msgspec.Struct, frozen=True):
    """A key at rest. Times are Unix seconds; ``routes`` None means every route."""

    key_id: KeyId
    name: str
    secret_sha256: bytes
    created_at_s: int
    routes: frozenset[str] | None = None
    expires_at_s: int | None = None
    revoked_at_s: int | None = None

    def is_valid(self, now_s: int) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at_s is None and (
            self.expires_at_s is None or now_s < self.expires_at_s
        )

    def opens_with(self, secret: str) -> bool:
        """Compare a presented secret in constant time."""
        return hmac.compare_digest(hash_secret(secret), self.secret_sha256)

    def account(self) -> Account:
        """Who a bearer of this key is."""
        return Account(self.key_id, self.name, self.routes)


class PresentedKey(NamedTuple):
    """A bearer token, taken apart."""

    key_id: KeyId
    secret: str


def compose(randomness: bytes) -> tuple[KeyId, str, str]:
    """Make a key of ``ID_BYTES + SECRET_BYTES`` random bytes: its id, its secret, its text."""
    if len(randomness) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"a key needs {ID_BYTES + SECRET_BYTES} random bytes")
    key_id = KeyId(randomness[:ID_BYTES].hex())
    secret = randomness[ID_BYTES:].hex()
    return key_id, secret, f"{PREFIX}_{key_id}_{secret}"


def take_apart(text: str) -> PresentedKey | None:
    """Split a bearer token; None where it is not written like a key of ours."""
    match = _WRITTEN.fullmatch(text)
    return None if match is None else PresentedKey(KeyId(match[1]), match[2])


def hash_secret(secret: str) -> bytes:
    """The SHA-256 of a secret, as it is stored."""
    return hashlib.sha256(secret.encode()).digest()
