"""The data folder, the database and its keys. Nothing is made and nothing is migrated."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ecluse.adapters.store import migrations
from ecluse.adapters.store.migrate import HEAD
from ecluse.adapters.store.schema import keys
from ecluse.adapters.store.store import DATABASE_NAME
from ecluse.diagnosis.finding import Finding, Level

PATIENCE_S = 1.0
FOREIGN = "of another program"
FOLDER, DATABASE, KEYS = "Data folder", "Database", "Keys"


def storage(folder: Path, now_s: int, *, open_to_others: bool) -> Iterator[Finding]:
    """The folder, then the database in it, then its keys.

    ``open_to_others`` tells that the gateway is to listen beyond this machine, for which it needs
    a key.
    """
    yield _folder(folder)
    database = folder / DATABASE_NAME
    if not database.exists():
        yield Finding(Level.FINE, DATABASE, "none yet: the first start makes it")
        yield _keys(0, 0, open_to_others)
        return
    try:
        with closing(_read_only(database)) as connection:
            finding = _database(database, connection)
            yield finding
            if finding.level is Level.FINE and _revision(connection) == HEAD:
                yield _keys(*_counted(connection, now_s), open_to_others)
    except (sqlite3.Error, SQLAlchemyError, OSError) as error:
        yield Finding(
            Level.BROKEN,
            DATABASE,
            f"{database} cannot be read: {getattr(error, 'orig', error)}",
            "Restore a backup, mend its permissions, or name another folder as storage.directory.",
        )


def _folder(folder: Path) -> Finding:
    if folder.exists() and not folder.is_dir():
        return Finding(
            Level.BROKEN, FOLDER, f"{folder} is a file", "Name a folder as storage.directory."
        )
    standing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not os.access(standing, os.W_OK | os.X_OK):
        return Finding(
            Level.BROKEN,
            FOLDER,
            f"{standing} cannot be written to",
            "Name a folder of yours as storage.directory, or mend its permissions.",
        )
    return Finding(
        Level.FINE, FOLDER, str(folder) if folder == standing else f"{folder}, made by a start"
    )


def _read_only(database: Path) -> sqlite3.Connection:
    """Open a database without leaving a trace beside it.

    Where it has no write-ahead log nobody is using it, and as immutable SQLite makes none.
    """
    beside = database.with_name(database.name + "-wal")
    immutable = "" if beside.exists() else "&immutable=1"
    uri = f"{database.absolute().as_uri()}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, check_same_thread=False)


def _database(database: Path, connection: sqlite3.Connection) -> Finding:
    if not os.access(database, os.W_OK):
        return Finding(
            Level.BROKEN, DATABASE, f"{database} cannot be written to", "Mend its permissions."
        )
    revision = _revision(connection)
    if revision == FOREIGN:
        return Finding(
            Level.BROKEN,
            DATABASE,
            f"{database} is the database of another program",
            "Name another folder as storage.directory.",
        )
    if revision is not None and revision not in _known_revisions():
        return Finding(
            Level.BROKEN,
            DATABASE,
            f"{database} is at revision {revision}; this Ecluse knows revisions up to {HEAD}",
            "Install a newer Ecluse, or restore a backup made before the upgrade.",
        )
    if revision != HEAD:
        return Finding(
            Level.FINE,
            DATABASE,
            f"{database} is at revision {revision or 'none'}; the next start brings it to {HEAD}",
        )
    return Finding(Level.FINE, DATABASE, f"{database}, revision {revision}")


def _revision(connection: sqlite3.Connection) -> str | None:
    """Where a database stands: None while it is empty, FOREIGN where it is none of ours."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return None
    if "alembic_version" not in tables:
        return FOREIGN
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _known_revisions() -> set[str]:
    """The revisions of this program, by the beginnings of their files' names."""
    folder = Path(str(migrations.__file__)).parent / "versions"
    return {HEAD} | {file.name.partition("_")[0] for file in folder.glob("[0-9]*_*.py")}


def _counted(connection: sqlite3.Connection, now_s: int) -> tuple[int, int]:
    """How many keys there are, and how many of them are valid."""
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    with engine.connect() as queries:
        rows = queries.execute(select(keys.c.revoked_at_s, keys.c.expires_at_s)).all()
    valid = sum(gone is None and (ends is None or now_s < ends) for gone, ends in rows)
    return len(rows), valid


def _keys(every: int, valid: int, open_to_others: bool) -> Finding:
    if valid:
        return Finding(Level.FINE, KEYS, f"{valid} valid of {every}")
    if open_to_others and every == 0:
        return Finding(
            Level.BROKEN,
            KEYS,
            "none, and the gateway is to listen for other machines: it will not start",
            "ecluse keys create",
        )
    if every == 0:
        return Finding(Level.FINE, KEYS, "none yet: the first start makes one and shows it once")
    return Finding(Level.WARNING, KEYS, f"none of {every} is valid any more", "ecluse keys create")
