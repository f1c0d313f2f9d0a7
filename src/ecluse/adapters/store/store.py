"""Open the database: its engines, and the ports over them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ecluse.adapters.store.keys import SqliteKeys
from ecluse.adapters.store.ledger import SqliteLedger
from ecluse.adapters.store.migrate import BUSY_TIMEOUT_S, migrate

DATABASE_NAME = "ecluse.db"


class Store:
    """An open database. Close it, or use it as an asynchronous context."""

    def __init__(self, database: Path) -> None:
        self.database = database
        # In WAL mode, NORMAL leaves out the disk flush at each commit. The program or the engine
        # may crash at any point and lose nothing that was committed; when the *machine* loses
        # power, the newest batches since the last checkpoint or flush (seconds, usually) may be
        # missing, always whole ones and from the end. That is fair for the ledger's detail.
        # Keys are rare and a revocation must not come undone: they pay for FULL.
        self._ledger_engine = _engine(database, "NORMAL")
        self._keys_engine = _engine(database, "FULL")
        self.keys = SqliteKeys(self._keys_engine)
        self.ledger = SqliteLedger(self._ledger_engine)

    async def close(self) -> None:
        """Close every connection."""
        await self._ledger_engine.dispose()
        await self._keys_engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def open_store(directory: Path) -> Store:
    """Open the folder's database, made or migrated where needed. Raises StartError."""
    database = directory / DATABASE_NAME
    migrate(database)
    return Store(database)


def _engine(database: Path, synchronous: Literal["NORMAL", "FULL"]) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(database)),
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    pragmas = (
        f"PRAGMA synchronous = {synchronous}",
        "PRAGMA foreign_keys = ON",
        # Without it INSERT OR REPLACE deletes a row behind the append-only trigger's back.
        "PRAGMA recursive_triggers = ON",
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return engine
