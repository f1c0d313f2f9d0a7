"""Who asks: keys held in memory, so that no request waits for the database."""

from __future__ import annotations

import asyncio
import logging

from ecluse.domain.errors import NotAuthenticated
from ecluse.domain.values.account import Account
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import PREFIX, PresentedKey, StoredKey, take_apart
from ecluse.ports import Keys

logger = logging.getLogger(__name__)

POLL_EVERY_S = 1.0
"""The longest a revoked key goes on working, while the database answers."""

_NOBODY = StoredKey(KeyId(""), "", bytes(32), 0)
_SEND_A_KEY = "Send it as `Authorization: Bearer <key>`; `ecluse keys create` makes one."
_MAKE_A_KEY = "Ask the operator for a key; `ecluse keys create` makes one."


class Accounts:
    """The keys as they last stood in the store.

    When the store cannot be read, the last picture stays in force: a broken disk neither locks
    everybody out nor lets anybody in.
    """

    def __init__(self, keys: Keys, every_s: float = POLL_EVERY_S) -> None:
        self._keys = keys
        self._every_s = every_s
        self._by_id: dict[KeyId, StoredKey] = {}
        self._revision: int | None = None
        self._in_trouble = False
        self._closing = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None

    def authenticate(self, header: bytes | str | None, now_s: int) -> Account:
        """Say whose key a header's value carries, at a Unix time.

        ``header`` is the value of ``Authorization`` (``Bearer <key>``) or of ``x-api-key`` (the key
        alone). Raises NotAuthenticated.
        """
        token = _token(header)
        if not token:
            raise NotAuthenticated("No API key was sent.", next_step=_SEND_A_KEY)
        presented = take_apart(token)
        if presented is None:
            raise NotAuthenticated(_no_key(token), next_step=_SEND_A_KEY)
        key = self._opened_by(presented)
        if not key.is_valid(now_s):
            ended = "expired" if key.revoked_at_s is None else "was revoked"
            raise NotAuthenticated(f"The API key {key.key_id} {ended}.", next_step=_MAKE_A_KEY)
        return key.account()

    def _opened_by(self, presented: PresentedKey) -> StoredKey:
        # An unknown id is compared all the same, so that time does not tell which ids exist.
        key = self._by_id.get(presented.key_id, _NOBODY)
        if not key.opens_with(presented.secret) or key is _NOBODY:
            raise NotAuthenticated("The API key is not known here.", next_step=_MAKE_A_KEY)
        return key

    async def refresh(self) -> None:
        """Read all keys if any changed. Raises what the store raises."""
        # The number is read first: a change between the two reads is then seen again next time.
        revision = await self._keys.revision()
        if revision != self._revision:
            self._by_id = {key.key_id: key for key in await self._keys.all()}
            self._revision = revision

    async def run(self) -> None:
        """Refresh for ever, until closed; trouble with the store is logged once and outlived."""
        self._polling = asyncio.current_task()
        while not self._closing.is_set():
            await self._poll()
            try:
                await asyncio.wait_for(self._closing.wait(), self._every_s)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Let ``run`` finish the read it is at, and return when it has."""
        self._closing.set()
        if self._polling is not None:
            await asyncio.wait((self._polling,))

    async def _poll(self) -> None:
        try:
            await self.refresh()
        except Exception as error:
            if not self._in_trouble:
                logger.warning("keys cannot be read, the last known ones stay valid: %s", error)
            self._in_trouble = True
        else:
            if self._in_trouble:
                logger.warning("keys can be read again")
            self._in_trouble = False


def _no_key(token: str) -> str:
    if token.startswith(f"{PREFIX}_"):
        return "The API key was cut or mistyped: it has not the length or the letters of one."
    return f"What was sent is not a key of this gateway: those begin with {PREFIX}_."


def _token(header: bytes | str | None) -> str:
    """The key in a header's value: what follows ``Bearer``, or the whole of it."""
    text = header.decode("latin-1") if isinstance(header, bytes) else header or ""
    scheme, _, rest = text.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text.strip()
