"""What only the SQLite store promises: append-only rows, private files, translated failures."""

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecluse.adapters.store.failures import translated
from ecluse.adapters.store.memory import MemoryLedger
from ecluse.adapters.store.schema import attempts
from ecluse.adapters.store.store import DATABASE_NAME, Store, open_store
from ecluse.domain.errors import StoreFailed
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.usage_report import Grouping, UsageQuery
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.money import Money
from ecluse.domain.values.usage import Usage

MakeRecord = Callable[..., AttemptRecord]
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


async def test_each_value_is_in_its_column(store: Store, record: MakeRecord) -> None:
    """The row says what the record said, column by column."""
    await store.ledger.append([record(1, error_code="late", finish_reason="length")])
    with closing(sqlite3.connect(store.database)) as connection:
        connection.row_factory = sqlite3.Row
        (row,) = connection.execute("SELECT * FROM attempts")
    assert dict(row) == {
        "attempt_id": "attempt-000001",
        "request_id": "request-000001",
        "key_id": "aaaaaaaaaaaa",
        "route": "auto",
        "model": "small",
        "deployment": "laptop/small",
        "stage": 3,
        "streamed": 1,
        "started_at_us": 1_700_000_000_000_001,
        "first_event_us": 21_000,
        "duration_us": 45_000,
        "outcome": "answered",
        "finish_reason": "length",
        "error_code": "late",
        "prompt_tokens": 101,
        "completion_tokens": 57,
        "cached_tokens": 13,
        "reasoning_tokens": 7,
        "usage_source": "reported",
        "price_nano": 1_234_567,
        "price_currency": "USD",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempts SET price_nano = 0",
        "DELETE FROM attempts",
        "INSERT OR REPLACE INTO attempts SELECT * FROM attempts",
        "REPLACE INTO attempts SELECT * FROM attempts",
    ],
)
async def test_attempts_are_append_only(store: Store, record: MakeRecord, statement: str) -> None:
    """Rows of the ledger can be neither changed, deleted nor replaced."""
    await store.ledger.append([record(1)])
    with pytest.raises(StoreFailed, match="append-only"):
        await _run_on_its_connection(store, statement)
    (line,) = await store.ledger.usage(UsageQuery())
    assert line.spend_nano == {"USD": 1_234_567}


async def test_other_programs_cannot_change_attempts(store: Store, record: MakeRecord) -> None:
    """The triggers are the file's, so the plain SQL shell is refused as well."""
    await store.ledger.append([record(1)])
    with closing(sqlite3.connect(store.database)) as connection:
        for statement in ("UPDATE attempts SET stage = 0", "DELETE FROM attempts"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


async def test_a_batch_is_written_whole_or_not_at_all(store: Store, record: MakeRecord) -> None:
    """A record that cannot be written takes its batch with it, and says why."""
    beyond = record(2, duration_us=2**63)
    with pytest.raises(StoreFailed, match="too large"):
        await store.ledger.append([record(1), beyond])
    assert list(await store.ledger.usage(UsageQuery())) == []


async def test_journal_and_pragmas(store: Store) -> None:
    """Every connection is in WAL mode, waits for others, and checks foreign keys."""
    for engine, synchronous in ((store._ledger_engine, 1), (store._keys_engine, 2)):
        async with engine.connect() as connection:
            for pragma, value in {
                "journal_mode": "wal",
                "synchronous": synchronous,
                "foreign_keys": 1,
                "busy_timeout": 10_000,
            }.items():
                answer = await connection.exec_driver_sql(f"PRAGMA {pragma}")
                assert answer.scalar() == value


@posix
async def test_only_the_owner_can_read(tmp_path: Path, record: MakeRecord) -> None:
    """A new folder is 0700 and every file of the database 0600, whatever the umask."""
    before = os.umask(0)
    try:
        folder = tmp_path / "new" / "data"
        async with open_store(folder) as store:
            await store.ledger.append([record(1)])
            modes = _modes(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == {f"{DATABASE_NAME}{end}": 0o600 for end in ("", "-wal", "-shm")}


@posix
def test_a_restored_backup_is_made_private(directory: Path) -> None:
    """A database that others could read is closed to them; the folder around it is left alone."""
    database = directory / DATABASE_NAME
    database.chmod(0o644)
    directory.chmod(0o755)
    asyncio.run(open_store(directory).close())
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


async def test_a_folder_with_an_awkward_name(tmp_path: Path, record: MakeRecord) -> None:
    """Characters that mean something in URLs and INI files are only characters."""
    folder = tmp_path / "my data %20 ?x=1#é"
    async with open_store(folder) as store:
        await store.ledger.append([record(1)])
    async with open_store(folder) as store:
        assert len(await store.ledger.usage(UsageQuery())) == 1


async def test_a_lost_table_is_a_sentence(store: Store, record: MakeRecord) -> None:
    """Database trouble at run time comes out of our error tree, with a next step."""
    with closing(sqlite3.connect(store.database)) as connection:
        connection.execute("DROP TABLE keys")
        connection.execute("DROP TABLE attempts")
        connection.commit()
    for act in (
        store.keys.all(),
        store.ledger.usage(UsageQuery()),
        store.ledger.append([record(1)]),
    ):
        with pytest.raises(StoreFailed, match="no such table") as caught:
            await act
        assert caught.value.next_step
        assert caught.value.http_status == 503


records = st.lists(
    st.fixed_dictionaries(
        {
            "request_id": st.sampled_from("rst"),
            "key_id": st.sampled_from("kl"),
            "route": st.sampled_from(["auto", "big"]),
            "model": st.sampled_from(["small", "big", "Ä"]),
            "deployment": st.sampled_from("de"),
            "started_at_us": st.integers(0, 3 * 86_400_000_000),
            "outcome": st.sampled_from(Outcome),
            "usage": st.builds(
                Usage,
                *[st.integers(0, 10**9)] * 4,
                st.sampled_from(["reported", "tokenizer", "estimate"]),
            ),
            "price": st.none()
            | st.builds(Money, st.integers(0, 10**15), st.sampled_from(["USD", "EUR"])),
        }
    ),
    max_size=12,
)
bounds = st.none() | st.integers(0, 3 * 86_400_000_000)
groupings: st.SearchStrategy[Grouping] = st.sampled_from(
    ["model", "route", "key", "deployment", "day", "outcome", "total"]
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=records, by=groupings, since_us=bounds, until_us=bounds)
async def test_the_fake_and_the_database_agree(
    migrated_file: Path,
    tmp_path: Path,
    record: MakeRecord,
    changes: list[dict[str, object]],
    by: Grouping,
    since_us: int | None,
    until_us: int | None,
) -> None:
    """On random ledgers and queries SQL sums to what plain Python does."""
    shutil.copy(migrated_file, tmp_path / DATABASE_NAME)
    attempts_made = [record(number, **change) for number, change in enumerate(changes)]
    query, fake = UsageQuery(by, since_us, until_us), MemoryLedger()
    async with open_store(tmp_path) as store:
        await store.ledger.append(attempts_made)
        await fake.append(attempts_made)
        assert list(await store.ledger.usage(query)) == list(await fake.usage(query))


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def _run_on_its_connection(store: Store, statement: str) -> None:
    with translated():
        async with store._ledger_engine.begin() as connection:
            await connection.exec_driver_sql(statement)


def test_the_ledger_reserves_every_column() -> None:
    """The table has a column for each value of a record, and none besides."""
    flat = set(AttemptRecord.__struct_fields__) - {"usage", "price"}
    flat |= {"price_nano", "price_currency", "usage_source"}
    flat |= {name for name in Usage.__struct_fields__ if name != "source"}
    assert set(attempts.c.keys()) == flat
