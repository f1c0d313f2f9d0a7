"""Bring a database file to the revision this version of the program works with."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from ecluse.domain.errors import StartError, StoreTooNew

HEAD = "0001"
"""The newest revision in ``migrations/versions``; a test holds the two together."""

BUSY_TIMEOUT_S = 10.0
"""How long a connection waits for another process's transaction."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Path) -> None:
    """Make the file where there is none, and upgrade it where it is older than the program.

    A file that stands at the head revision costs one short query and no import of Alembic.
    Raises StoreTooNew where a newer program wrote it, StartError where it cannot be used.
    """
    try:
        _make_private(database)
        revision = _revision(database)
        if revision != HEAD:
            _upgrade(database, revision)
        _try_to_write(database)
    except OSError as error:
        raise StartError(
            f"The database {database} cannot be opened: {error.strerror or error}.",
            next_step="Name a folder of yours as storage.directory, or mend its permissions.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise StartError(
            f"The database {database} cannot be used: {error}.",
            next_step="Restore a backup, or name another folder as storage.directory.",
        ) from error


def _make_private(database: Path) -> None:
    """Make folder and file for their owner alone: they hold who used what, and key hashes.

    A folder that stands keeps its mode, since it may hold other things. SQLite gives the files
    it puts beside the database the database's own mode.
    """
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(database, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.name == "posix" and os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _revision(database: Path) -> str | None:
    """The revision a file stands at, None where it is empty."""
    with closing(_connect(database)) as connection:
        tables = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise StartError(
                f"{database} is the database of another program.",
                next_step="Name another folder as storage.directory.",
            )
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])


def _try_to_write(database: Path) -> None:
    """Show a read-only file or folder now and not at the first answer."""
    with closing(_connect(database)) as connection:
        _use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and one writer work at once. The mode is the file's: set once, it stays.

    SQLite changes it only while nobody else is at the file, and does not wait for that itself.
    """
    patience_ends_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > patience_ends_s:
                raise
            time.sleep(0.01)


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, timeout=BUSY_TIMEOUT_S)


def _upgrade(database: Path, revision: str | None) -> None:
    """Apply the missing revisions in one transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError

    config = Config()
    # The configuration is an INI file's, where a percent sign begins a reference.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreTooNew(
            f"The database {database} is at revision {revision}; this version of ecluse knows "
            f"revisions up to {HEAD}.",
            next_step="Install a newer ecluse, or restore a backup made before the upgrade.",
        )
    engine = create_engine("sqlite://", creator=lambda: _connect(database))
    try:
        with engine.connect() as connection:
            # The driver opens no transaction of its own for DDL. Of two programs that start at
            # once the second waits here, and then finds nothing left to do.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.exec_driver_sql("COMMIT")
    except DBAPIError as error:
        raise sqlite3.DatabaseError(str(error.orig)) from error
    finally:
        engine.dispose()
