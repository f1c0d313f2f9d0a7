"""From any older database to this version's; anything else is refused in a sentence."""

import os
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import ecluse
from ecluse.adapters.store import migrate as migrate_module
from ecluse.adapters.store.migrate import HEAD, migrate
from ecluse.adapters.store.schema import metadata
from ecluse.adapters.store.store import DATABASE_NAME, open_store
from ecluse.domain.errors import StartError, StoreTooNew
from ecluse.domain.ledger.usage_report import UsageQuery

OLD_DATABASES = sorted((Path(__file__).parent / "old_databases").glob("*.sql"))


def structure(database: Path) -> dict[str, str]:
    """What a file's tables and indexes are, by name, without the accidents of their text."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL"
        ).fetchall()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def restore(dump: Path, database: Path) -> None:
    """Make a database of its SQL text."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))


def revision(database: Path) -> str:
    """The revision a file says it is at."""
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def script() -> ScriptDirectory:
    """The package's migrations."""
    config = Config()
    folder = Path(migrate_module.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_head_is_the_newest_revision() -> None:
    """The constant that spares us Alembic's import names the one head there is."""
    assert script().get_heads() == [HEAD]


def test_every_revision_has_an_old_database() -> None:
    """A database of each released revision is kept, so that each upgrade is tried."""
    revisions = {found.revision for found in script().walk_revisions()}
    assert {path.stem for path in OLD_DATABASES} == revisions


def test_migrations_make_the_schema(tmp_path: Path) -> None:
    """What the migrations build is what the tables in ``schema.py`` say."""
    migrate(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert structure(tmp_path / "migrated.db") == structure(tmp_path / "created.db")


@pytest.mark.parametrize("dump", OLD_DATABASES, ids=lambda path: path.stem)
async def test_an_old_database_keeps_what_it_holds(dump: Path, tmp_path: Path) -> None:
    """Keys and attempts written by any older version are read by this one."""
    restore(dump, tmp_path / DATABASE_NAME)
    async with open_store(tmp_path) as store:
        keys = await store.keys.all()
        assert [(key.name, key.routes) for key in keys] == [
            ("école", None),
            ("guest", frozenset({"auto"})),
        ]
        assert await store.keys.revision() == 3
        (line,) = await store.ledger.usage(UsageQuery("total"))
    assert (line.attempts, line.requests, line.unpriced_attempts) == (3, 2, 1)
    assert line.spend_nano == {"EUR": 5, "USD": 1_234_567}
    assert revision(tmp_path / DATABASE_NAME) == HEAD


@pytest.mark.parametrize("empty", ["absent", "no bytes", "no revision"])
def test_from_nothing_to_head(tmp_path: Path, empty: str) -> None:
    """No file, an empty one, and one whose migrations were all taken back become databases."""
    database = tmp_path / "a" / "b" / DATABASE_NAME
    if empty != "absent":
        database.parent.mkdir(parents=True)
        database.touch()
    if empty == "no revision":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    migrate(database)
    assert revision(database) == HEAD
    migrate(database)
    assert {"keys", "attempts", "ix_attempts_started_at_us"} <= set(structure(database))


def test_an_upgrade_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    """An upgrade that fails half-way leaves the file as it was, and says what failed."""
    database = tmp_path / DATABASE_NAME
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE attempts (mine TEXT)")
    before = structure(database)
    with pytest.raises(StartError, match="attempts already exists"):
        migrate(database)
    assert structure(database) == before


def test_a_newer_database_is_refused(directory: Path) -> None:
    """A revision we do not know: the sentence names the file, both revisions and what to do."""
    database = directory / DATABASE_NAME
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
        connection.commit()
    with pytest.raises(StoreTooNew) as caught:
        open_store(directory)
    sentence = str(caught.value)
    for part in (str(database), "9876", HEAD, "newer ecluse", "backup"):
        assert part in sentence
    assert revision(database) == "9876"


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another file of that name is refused and not touched."""
    database = tmp_path / DATABASE_NAME
    database.write_text("a diary, not a database\n" * 100)
    with pytest.raises(StartError, match=re.escape(str(database))) as caught:
        open_store(tmp_path)
    assert caught.value.next_step
    assert database.read_text().startswith("a diary")


def test_the_database_of_another_program(tmp_path: Path) -> None:
    """Our tables are never put into a database that has others."""
    database = tmp_path / DATABASE_NAME
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StartError, match="another program"):
        open_store(tmp_path)
    assert set(structure(database)) == {"bookmarks"}


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """Where a file stands in the folder's place the sentence says so."""
    (tmp_path / "data").write_text("in the way")
    for folder in (tmp_path / "data", tmp_path / "data" / "deeper"):
        with pytest.raises(StartError, match="cannot be opened") as caught:
            open_store(folder)
        assert "storage.directory" in caught.value.next_step


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    """A folder of the database's name is refused in a sentence, too."""
    (tmp_path / DATABASE_NAME).mkdir()
    with pytest.raises(StartError, match="cannot be opened"):
        open_store(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_folder_that_cannot_be_written(directory: Path) -> None:
    """A read-only folder is told at the start, not when the first answer is booked."""
    # The superuser may write everywhere but where the kernel keeps the files.
    folder = directory if os.geteuid() else Path("/proc/ecluse")
    directory.chmod(0o500)
    try:
        with pytest.raises(StartError, match="cannot be"):
            open_store(folder)
    finally:
        directory.chmod(0o700)


def test_the_change_to_wal_waits_for_a_writer(tmp_path: Path) -> None:
    """Where another program writes just then it is waited for: SQLite would not do so itself."""
    database = tmp_path / DATABASE_NAME
    restore(OLD_DATABASES[-1], database)
    with closing(sqlite3.connect(database, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, writer.rollback)
        release.start()
        migrate(database)
        release.join()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_file_is_in_wal_mode_before_it_is_used(tmp_path: Path) -> None:
    """Migrating alone sets the mode, so that a folder without room for a journal is noticed."""
    database = tmp_path / DATABASE_NAME
    migrate(database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_usual_start_spares_alembic(directory: Path) -> None:
    """At the head revision neither Alembic nor its templates are imported."""
    code = (
        "import sys; from pathlib import Path; from ecluse.adapters.store.store import open_store;"
        "open_store(Path(sys.argv[1])); print(sorted({'alembic', 'mako'} & sys.modules.keys()))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(ecluse.__file__).parents[1])}
    answer = subprocess.run(
        [sys.executable, "-c", code, str(directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
