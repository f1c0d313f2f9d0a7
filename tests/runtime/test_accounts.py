"""Accounts answer at once from memory, follow the store, and outlive its troubles."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.adapters.store.memory import MemoryKeys
from ecluse.domain.errors import EcluseError, NotAuthenticated
from ecluse.domain.values.account import Account
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import ID_BYTES, SECRET_BYTES, StoredKey, compose, hash_secret
from ecluse.runtime.accounts import Accounts

NOW_S = 1_000


def made(number: int, **changes: object) -> tuple[StoredKey, str]:
    """A key and its text."""
    key_id, secret, text = compose(bytes([number]) * (ID_BYTES + SECRET_BYTES))
    key = StoredKey(key_id, f"key {number}", hash_secret(secret), 0, **changes)  # type: ignore[arg-type]
    return key, text


async def accounts_of(*keys: StoredKey) -> Accounts:
    """Accounts that have read these keys."""
    store = MemoryKeys()
    for key in keys:
        await store.add(key)
    accounts = Accounts(store)
    await accounts.refresh()
    return accounts


class FailingKeys(MemoryKeys):
    """A store that fails as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.asked = 0
        self.read = 0

    async def revision(self) -> int:
        """Fail, or tell the revision."""
        self.asked += 1
        if self.failing:
            raise OSError("the disk is gone")
        return await super().revision()

    async def all(self) -> Sequence[StoredKey]:
        """Count the reads."""
        self.read += 1
        return await super().all()


@pytest.mark.parametrize(
    "written",
    ["Bearer {}", "bearer {}", "BEARER   {} ", "{}", " {} "],
)
async def test_ways_to_send_a_key(written: str) -> None:
    """The Bearer scheme in any case, or the key alone; as text or as the bytes of a header."""
    key, text = made(1, routes=frozenset({"auto"}))
    accounts = await accounts_of(key, made(2)[0])
    header = written.format(text)
    expected = Account(key.key_id, "key 1", frozenset({"auto"}))
    assert accounts.authenticate(header, NOW_S) == expected
    assert accounts.authenticate(header.encode(), NOW_S) == expected


@pytest.mark.parametrize("header", [None, "", b"", "Bearer", "Bearer ", b"  "])
async def test_no_key_at_all(header: bytes | str | None) -> None:
    """Without a key the answer says how to send one."""
    accounts = await accounts_of(made(1)[0])
    with pytest.raises(NotAuthenticated, match="No API key was sent") as caught:
        accounts.authenticate(header, NOW_S)
    assert "Authorization: Bearer" in caught.value.next_step
    assert caught.value.http_status == 401


async def test_a_cut_key_is_told_from_a_foreign_one() -> None:
    """To be told how ours begin does not help who pasted one that begins so."""
    accounts = await accounts_of()
    with pytest.raises(NotAuthenticated, match="cut or mistyped"):
        accounts.authenticate("Bearer ecl_000000000000_00", NOW_S)
    with pytest.raises(NotAuthenticated, match="begin with ecl_"):
        accounts.authenticate("Bearer sk-proj-123", NOW_S)


@pytest.mark.parametrize(
    "token",
    [
        "sk-proj-123",
        "' OR '1'='1",
        "ecl_' OR 1=1; --_" + "0" * 64,
        "x'; DROP TABLE keys; --",
        "ecl_%_%",
        '{"$ne": null}',
        "ecl_000000000000_" + "0" * 63,
        "ключ",
        "\ud800",
        "a" * 100_000,
        "Basic dXNlcjpwYXNz",
        "\x00",
    ],
)
async def test_texts_that_are_no_keys(token: str) -> None:
    """Injections, foreign keys and noise are 401 and nothing else, and are not repeated."""
    accounts = await accounts_of(made(1)[0])
    for header in (token, f"Bearer {token}", f"Bearer {token}".encode(errors="replace")):
        with pytest.raises(NotAuthenticated) as caught:
            accounts.authenticate(header, NOW_S)
        assert token not in str(caught.value)


@given(st.one_of(st.text(), st.binary()))
async def test_noise_never_gets_in_nor_breaks_anything(header: bytes | str) -> None:
    """Whatever a header holds, the only answer is 401."""
    accounts = await accounts_of(made(1)[0])
    with pytest.raises(NotAuthenticated):
        accounts.authenticate(header, NOW_S)


async def test_a_wrong_secret_and_an_unknown_id_look_alike() -> None:
    """Neither the sentence nor the code tells whether an id exists."""
    (key, _), (other, other_text) = made(1), made(2)
    accounts = await accounts_of(key)
    wrong = f"ecl_{key.key_id}_{other_text.rpartition('_')[2]}"
    told = []
    for text in (wrong, other_text):
        with pytest.raises(NotAuthenticated) as caught:
            accounts.authenticate(text, NOW_S)
        told.append((str(caught.value), caught.value.code))
    assert told[0] == told[1]
    assert other.key_id not in told[0][0]


async def test_an_empty_store_has_no_master_key() -> None:
    """The stand-in that unknown ids are compared with opens nothing."""
    accounts = await accounts_of()
    for number in range(256):
        with pytest.raises(NotAuthenticated):
            accounts.authenticate(made(number)[1], NOW_S)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"revoked_at_s": 900}, "was revoked"), ({"expires_at_s": NOW_S}, "expired")],
)
async def test_keys_that_ended(changes: dict[str, object], word: str) -> None:
    """A holder of an ended key learns what became of it; others learn nothing."""
    key, text = made(1, **changes)
    accounts = await accounts_of(key)
    with pytest.raises(NotAuthenticated, match=word):
        accounts.authenticate(text, NOW_S)
    with pytest.raises(NotAuthenticated, match="not known"):
        accounts.authenticate(f"ecl_{key.key_id}_{'0' * 64}", NOW_S)


async def test_expiry_needs_no_reading() -> None:
    """A key read while valid stops at its second by itself."""
    key, text = made(1, expires_at_s=NOW_S + 1)
    accounts = await accounts_of(key)
    assert accounts.authenticate(text, NOW_S).key_id == key.key_id
    with pytest.raises(NotAuthenticated):
        accounts.authenticate(text, NOW_S + 1)


async def test_keys_are_read_only_when_they_changed() -> None:
    """An unchanged revision costs one number."""
    keys = FailingKeys()
    accounts = Accounts(keys)
    for _ in range(3):
        await accounts.refresh()
    assert (keys.asked, keys.read) == (3, 1)
    await keys.add(made(1)[0])
    await accounts.refresh()
    assert keys.read == 2


async def test_a_change_between_the_two_reads_is_not_missed() -> None:
    """A key revoked after the revision was read and before the keys were is seen next time."""
    key, text = made(1)

    class Racing(MemoryKeys):
        async def all(self) -> Sequence[StoredKey]:
            seen = await super().all()
            if seen[0].revoked_at_s is None:
                await self.revoke(key.key_id, 1)
            return seen

    keys = Racing()
    await keys.add(key)
    accounts = Accounts(keys)
    await accounts.refresh()
    await accounts.refresh()
    with pytest.raises(NotAuthenticated, match="revoked"):
        accounts.authenticate(text, NOW_S)


async def test_changes_arrive_within_the_interval() -> None:
    """While it runs, a new key opens and a revoked one stops."""
    keys = MemoryKeys()
    accounts = Accounts(keys, every_s=1)
    running = asyncio.create_task(accounts.run())
    await asyncio.sleep(0.1)
    key, text = made(1)
    await keys.add(key)
    with pytest.raises(NotAuthenticated):
        accounts.authenticate(text, NOW_S)
    await asyncio.sleep(1)
    assert accounts.authenticate(text, NOW_S).key_id == key.key_id
    await keys.revoke(key.key_id, 5)
    await asyncio.sleep(1)
    with pytest.raises(NotAuthenticated):
        accounts.authenticate(text, NOW_S)
    await accounts.close()
    assert running.done()


async def test_trouble_is_outlived(caplog: pytest.LogCaptureFixture) -> None:
    """While the store fails the last keys stay; it is logged once, and then followed again."""
    keys = FailingKeys()
    (first, first_text), (second, second_text) = made(1), made(2)
    await keys.add(first)
    accounts = Accounts(keys, every_s=0.01)
    running = asyncio.create_task(accounts.run())
    await asyncio.sleep(0.05)
    keys.failing = True
    await keys.add(second)
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(0.1)
        assert [record.message for record in caplog.records] == [
            "keys cannot be read, the last known ones stay valid: the disk is gone"
        ]
        assert accounts.authenticate(first_text, NOW_S).key_id == first.key_id
        with pytest.raises(NotAuthenticated):
            accounts.authenticate(second_text, NOW_S)
        keys.failing = False
        await asyncio.sleep(0.1)
        assert caplog.records[-1].message == "keys can be read again"
    assert accounts.authenticate(second_text, NOW_S).key_id == second.key_id
    assert not running.done()
    await accounts.close()
    assert running.done()


async def test_a_store_that_fails_at_the_start_is_told() -> None:
    """The first reading is the caller's: it hears the trouble."""
    keys = FailingKeys()
    keys.failing = True
    with pytest.raises(OSError, match="disk"):
        await Accounts(keys).refresh()


async def test_closing_before_running() -> None:
    """Closing what never ran returns, and running what is closed does, too."""
    accounts = Accounts(MemoryKeys())
    await accounts.close()
    await asyncio.wait_for(accounts.run(), 1)


def test_every_refusal_is_of_our_tree() -> None:
    """A refusal is an EcluseError, which the wire knows how to say."""
    with pytest.raises(EcluseError):
        Accounts(MemoryKeys()).authenticate(KeyId("x"), NOW_S)
