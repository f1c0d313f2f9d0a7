"""What Keys and Ledger promise, asked of the SQLite store and of the in-memory fakes alike."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecluse.adapters.store.memory import MemoryKeys, MemoryLedger
from ecluse.adapters.store.store import Store
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.usage_report import Grouping, UsageLine, UsageQuery
from ecluse.domain.values.answer import Outcome
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import StoredKey
from ecluse.domain.values.money import Money
from ecluse.domain.values.usage import Usage
from ecluse.ports import Keys, Ledger

MakeRecord = Callable[..., AttemptRecord]
DAY_US = 86_400_000_000
PLAIN = StoredKey(KeyId("aaaaaaaaaaaa"), "plain", bytes(range(32)), 1_000)
FULL = StoredKey(
    KeyId("bbbbbbbbbbbb"), "full", b"\xff" * 32, 2_000, frozenset({"é", "auto"}), 9_000, 8_000
)


@pytest.fixture(params=["memory", "sqlite"])
def keys(request: pytest.FixtureRequest) -> Keys:
    """The Keys port, twice."""
    if request.param == "memory":
        return MemoryKeys()
    store: Store = request.getfixturevalue("store")
    return store.keys


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """The Ledger port, twice."""
    if request.param == "memory":
        return MemoryLedger()
    store: Store = request.getfixturevalue("store")
    return store.ledger


async def test_keys_come_back_whole(keys: Keys) -> None:
    """Every field survives, and the oldest key is first whatever the order of adding."""
    await keys.add(FULL)
    await keys.add(PLAIN)
    assert list(await keys.all()) == [PLAIN, FULL]


async def test_no_routes_is_not_every_route(keys: Keys) -> None:
    """An empty scope stays empty; it must not turn into the scope of everything."""
    await keys.add(msgspec.structs.replace(PLAIN, routes=frozenset()))
    assert (await keys.all())[0].routes == frozenset()


async def test_a_taken_id(keys: Keys) -> None:
    """A second key of one id is refused and the first one stands."""
    await keys.add(PLAIN)
    with pytest.raises(InvalidRequest, match="aaaaaaaaaaaa"):
        await keys.add(msgspec.structs.replace(FULL, key_id=PLAIN.key_id))
    assert list(await keys.all()) == [PLAIN]


async def test_revoking(keys: Keys) -> None:
    """Revoking sets the time once; a later revocation does not move it."""
    await keys.add(PLAIN)
    assert await keys.revoke(PLAIN.key_id, 5_000)
    assert await keys.revoke(PLAIN.key_id, 6_000)
    assert [key.revoked_at_s for key in await keys.all()] == [5_000]


async def test_revoking_nothing(keys: Keys) -> None:
    """An unknown id says so and touches no other key, however it is written."""
    await keys.add(PLAIN)
    for key_id in ("cccccccccccc", "", "' OR '1'='1", "%"):
        assert not await keys.revoke(KeyId(key_id), 5_000)
    assert list(await keys.all()) == [PLAIN]


async def test_revision_grows_with_each_change(keys: Keys) -> None:
    """Adding and revoking grow the number; reading and failing leave it."""
    seen = [await keys.revision()]
    await keys.add(PLAIN)
    seen.append(await keys.revision())
    await keys.revoke(PLAIN.key_id, 5_000)
    seen.append(await keys.revision())
    assert seen == sorted(set(seen))
    await keys.all()
    await keys.revoke(KeyId("cccccccccccc"), 5_000)
    with pytest.raises(InvalidRequest):
        await keys.add(PLAIN)
    assert await keys.revision() == seen[-1]


async def test_concurrent_adds(keys: Keys) -> None:
    """Keys added at once are all there, and each one counted."""
    before = await keys.revision()
    made = [msgspec.structs.replace(PLAIN, key_id=KeyId(f"{n:012x}")) for n in range(20)]
    await asyncio.gather(*map(keys.add, made))
    assert {key.key_id for key in await keys.all()} == {key.key_id for key in made}
    assert await keys.revision() == before + 20


async def test_an_empty_ledger(ledger: Ledger) -> None:
    """Nothing used is no line, for every grouping; appending nothing changes that."""
    await ledger.append([])
    for by in msgspec.inspect.type_info(Grouping).values:  # type: ignore[attr-defined]
        assert list(await ledger.usage(UsageQuery(by))) == []


async def test_sums(ledger: Ledger, record: MakeRecord) -> None:
    """Each sum is of its own column, and each count of its own condition."""
    await ledger.append(
        [
            record(1),
            record(2, request_id="request-000001", price=Money(2, "USD"), usage=Usage(1, 10, 0, 3)),
            record(3, price=Money(5, "EUR"), usage=Usage(1_000, 2_000, 3, 4, "estimate")),
            record(4, price=None, usage=Usage(20_000, 0, 0, 0, "tokenizer")),
            record(5, outcome=Outcome.FAILED, finish_reason=None, error_code="upstream_failed"),
        ]
    )
    assert list(await ledger.usage(UsageQuery("total"))) == [
        UsageLine(
            group="total",
            attempts=5,
            requests=4,
            prompt_tokens=21_203,
            cached_tokens=29,
            completion_tokens=2_124,
            reasoning_tokens=21,
            estimated_attempts=2,
            unpriced_attempts=1,
            failed_attempts=1,
            spend_nano={"USD": 2_469_136, "EUR": 5},
        )
    ]


async def test_an_unknown_price_is_not_zero(ledger: Ledger, record: MakeRecord) -> None:
    """A group without a known price has no spend; a price of nothing is a spend of nothing."""
    await ledger.append([record(1, price=None), record(2, model="free", price=Money(0, "USD"))])
    lines = {line.group: line for line in await ledger.usage(UsageQuery("model"))}
    assert lines["small"].spend_nano == {}
    assert lines["free"].spend_nano == {"USD": 0}


@pytest.mark.parametrize(
    ("by", "field", "values"),
    [
        ("model", "model", ["big", "small"]),
        ("route", "route", ["auto", "big"]),
        ("key", "key_id", ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]),
        ("deployment", "deployment", ["cloud/big", "laptop/small"]),
        ("outcome", "outcome", [Outcome.ANSWERED, Outcome.OUTDONE]),
    ],
)
async def test_grouping(
    ledger: Ledger, record: MakeRecord, by: Grouping, field: str, values: list[Any]
) -> None:
    """Each grouping splits by its own field, in order, with its own requests and spend."""
    first, second = values
    await ledger.append(
        [
            record(1, **{field: second}),
            record(2, **{field: first}, price=Money(7, "EUR")),
            record(3, **{field: second}),
        ]
    )
    lines = await ledger.usage(UsageQuery(by))
    assert [(line.group, line.attempts, line.requests) for line in lines] == [
        (first, 1, 1),
        (second, 2, 2),
    ]
    assert [line.spend_nano for line in lines] == [{"EUR": 7}, {"USD": 2_469_134}]


async def test_days_are_those_of_utc(ledger: Ledger, record: MakeRecord) -> None:
    """The last microsecond of a day and the first of the next are two days."""
    midnight = 19_675 * DAY_US
    await ledger.append([record(1, started_at_us=midnight), record(2, started_at_us=midnight - 1)])
    lines = await ledger.usage(UsageQuery("day"))
    assert [line.group for line in lines] == ["2023-11-13", "2023-11-14"]


async def test_bounds(ledger: Ledger, record: MakeRecord) -> None:
    """A query takes its first moment and leaves out its last, in attempts and in spend."""
    await ledger.append([record(n, started_at_us=n, price=Money(10**n, "USD")) for n in range(5)])
    (line,) = await ledger.usage(UsageQuery(since_us=1, until_us=3))
    assert (line.attempts, line.spend_nano) == (2, {"USD": 110})
    (line,) = await ledger.usage(UsageQuery(since_us=3))
    assert (line.attempts, line.spend_nano) == (2, {"USD": 11_000})
    (line,) = await ledger.usage(UsageQuery(until_us=1))
    assert (line.attempts, line.spend_nano) == (1, {"USD": 1})
    assert list(await ledger.usage(UsageQuery(since_us=3, until_us=3))) == []


async def test_appending_again_changes_nothing(ledger: Ledger, record: MakeRecord) -> None:
    """A batch sent twice is booked once, what is new in the second is booked, and the first word
    stands.
    """
    await ledger.append([record(1), record(2)])
    await ledger.append([record(1), record(2, model="other"), record(3)])
    (line,) = await ledger.usage(UsageQuery("model"))
    assert (line.group, line.attempts) == ("small", 3)


async def test_names_are_only_text(ledger: Ledger, record: MakeRecord) -> None:
    """Quotes, SQL, other scripts and control characters come back as they went in."""
    models = ["'; DROP TABLE attempts; --", 'a"b', "模型", "\x1b[31m", "", "%s ? :x"]
    await ledger.append([record(n, model=model) for n, model in enumerate(models)])
    assert {line.group for line in await ledger.usage(UsageQuery("model"))} == set(models)


async def test_large_numbers_stay_exact(ledger: Ledger, record: MakeRecord) -> None:
    """Sums beyond what a 64-bit float holds exactly are exact."""
    much = 2**60 + 1
    await ledger.append([record(n, price=Money(much, "USD")) for n in range(3)])
    (line,) = await ledger.usage(UsageQuery("total"))
    assert line.spend_nano == {"USD": 3 * much}
