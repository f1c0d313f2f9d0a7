"""Stores and sample records for the store's tests."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ecluse.adapters.store.migrate import migrate
from ecluse.adapters.store.store import DATABASE_NAME, Store, open_store
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import AttemptId, KeyId, RequestId
from ecluse.domain.values.money import Money
from ecluse.domain.values.usage import Usage


def sample(number: int, **changes: object) -> AttemptRecord:
    """A record whose values all differ, so that two columns swapped would be seen."""
    values: dict[str, object] = {
        "attempt_id": AttemptId(f"attempt-{number:06}"),
        "request_id": RequestId(f"request-{number:06}"),
        "key_id": KeyId("aaaaaaaaaaaa"),
        "route": "auto",
        "model": "small",
        "deployment": "laptop/small",
        "stage": 3,
        "streamed": True,
        "started_at_us": 1_700_000_000_000_000 + number,
        "first_event_us": 21_000,
        "duration_us": 45_000,
        "outcome": Outcome.ANSWERED,
        "finish_reason": "stop",
        "error_code": None,
        "usage": Usage(101, 57, 13, 7),
        "price": Money(1_234_567, "USD"),
    }
    return AttemptRecord(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def record() -> Callable[..., AttemptRecord]:
    """Make a sample record of a number, with changes by name."""
    return sample


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the head revision, to be copied: migrating each time would cost minutes."""
    database = tmp_path_factory.mktemp("migrated") / DATABASE_NAME
    migrate(database)
    return database


@pytest.fixture
def directory(migrated_file: Path, tmp_path: Path) -> Path:
    """A folder with an empty database at the head revision."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copy(migrated_file, folder / DATABASE_NAME)
    return folder


@pytest.fixture
async def store(directory: Path) -> AsyncIterator[Store]:
    """An open SQLite store."""
    async with open_store(directory) as opened:
        yield opened
