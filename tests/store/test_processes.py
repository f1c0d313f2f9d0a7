"""Several processes at one database, and one that is killed."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import ecluse
from ecluse.adapters.store.store import DATABASE_NAME, open_store
from ecluse.domain.ledger.usage_report import UsageQuery
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import StoredKey

WRITER = """
import asyncio, sys
from pathlib import Path
from ecluse.adapters.store.store import open_store
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.usage import Usage

directory, batches, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def record(batch, number):
    return AttemptRecord(
        f"{batch:06}-{number:06}", f"batch-{batch:06}", "k", "auto", "m", "d", 0, False,
        batch, None, 1, Outcome.ANSWERED, "stop", None, Usage(1, 1), None,
    )

async def main():
    async with open_store(directory) as store:
        for batch in range(batches):
            await store.ledger.append([record(batch, number) for number in range(size)])
            print(batch, flush=True)

asyncio.run(main())
"""


def writer(directory: Path, batches: int, size: int) -> subprocess.Popen[str]:
    """Start a process that appends batches, each of its own request, and tells each commit."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(batches), str(size)],
        env=os.environ | {"PYTHONPATH": str(Path(ecluse.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_one_appends_while_another_makes_keys_and_reads(directory: Path) -> None:
    """Neither process disturbs the other, and nothing of either is lost."""
    with writer(directory, batches=150, size=100) as process:
        async with open_store(directory) as store:
            made = 0
            while process.poll() is None or made < 20:
                await store.keys.add(StoredKey(KeyId(f"{made:012x}"), "n", bytes(32), made))
                made += 1
                for line in await store.ledger.usage(UsageQuery("total")):
                    assert line.attempts == 100 * line.requests
                await asyncio.sleep(0.005)
            assert await store.keys.revision() == made == len(await store.keys.all())
            (line,) = await store.ledger.usage(UsageQuery("total"))
            assert (line.attempts, line.requests) == (15_000, 150)
        assert process.wait() == 0


@pytest.mark.parametrize("committed_at_least", [1, 7, 20])
async def test_a_killed_writer_leaves_whole_batches(
    directory: Path, committed_at_least: int
) -> None:
    """After SIGKILL the database opens, holds all that was committed, and no part of a batch."""
    told: list[int] = []
    with writer(directory, batches=100_000, size=1_500) as process:
        assert process.stdout is not None
        while len(told) < committed_at_least:
            told.append(int(process.stdout.readline()))
        # Somewhere within one of the next batches.
        await asyncio.sleep(0.004 * committed_at_least)
        process.kill()
        told.extend(int(line) for line in process.stdout if line.endswith("\n"))
    async with open_store(directory) as store:
        (line,) = await store.ledger.usage(UsageQuery("total"))
        await store.keys.add(StoredKey(KeyId("after"), "n", bytes(32), 0))
    assert line.attempts == 1_500 * line.requests
    assert line.requests >= len(told) >= committed_at_least
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_programs_that_start_at_once(tmp_path: Path) -> None:
    """Of several programs that find no database, one makes it and all can use it."""
    processes = [writer(tmp_path / "data", batches=1, size=n) for n in range(1, 7)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 6
