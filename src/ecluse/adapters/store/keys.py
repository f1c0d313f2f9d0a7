"""Keys in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ecluse.adapters.store.failures import translated
from ecluse.adapters.store.schema import keys, keys_revision
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import StoredKey


class SqliteKeys:
    """The Keys port over a migrated database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises InvalidRequest where its id is taken."""
        values = msgspec.structs.asdict(key) | {"routes": _routes_text(key.routes)}
        with translated():
            try:
                async with self._engine.begin() as connection:
                    await connection.execute(insert(keys).values(values))
                    await _grow_revision(connection)
            except IntegrityError as error:
                raise InvalidRequest(f"There is a key {key.key_id} already.") from error

    async def all(self) -> Sequence[StoredKey]:
        """Every key, revoked and expired ones included, oldest first."""
        statement = select(keys).order_by(keys.c.created_at_s, keys.c.key_id)
        with translated():
            async with self._engine.connect() as connection:
                return [_stored_key(row) for row in await connection.execute(statement)]

    async def revoke(self, key_id: KeyId, at_s: int) -> bool:
        """Mark a key as revoked; an earlier revocation stands. False where there is no such key."""
        first = func.coalesce(keys.c.revoked_at_s, at_s)
        statement = update(keys).where(keys.c.key_id == key_id).values(revoked_at_s=first)
        with translated():
            async with self._engine.begin() as connection:
                found = (await connection.execute(statement)).rowcount > 0
                if found:
                    await _grow_revision(connection)
        return found

    async def revision(self) -> int:
        """A number that grows with every change."""
        with translated():
            async with self._engine.connect() as connection:
                number = await connection.scalar(select(keys_revision.c.revision))
        return int(number or 0)


async def _grow_revision(connection: AsyncConnection) -> None:
    await connection.execute(update(keys_revision).values(revision=keys_revision.c.revision + 1))


def _routes_text(routes: frozenset[str] | None) -> str | None:
    return None if routes is None else msgspec.json.encode(sorted(routes)).decode()


def _stored_key(row: Sequence[Any]) -> StoredKey:
    key_id, name, secret_sha256, created_at_s, routes, expires_at_s, revoked_at_s = row
    return StoredKey(
        KeyId(key_id),
        name,
        secret_sha256,
        created_at_s,
        None if routes is None else msgspec.json.decode(routes, type=frozenset[str]),
        expires_at_s,
        revoked_at_s,
    )
