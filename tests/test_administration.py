"""Making, listing and revoking keys."""

from collections.abc import Sequence

import pytest

from ecluse.adapters.store.memory import MemoryKeys
from ecluse.administration import KeyAdministration
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import StoredKey, take_apart

NOW_S = 1_700_000_000


class StillClock:
    """A clock that stands, and randomness that counts."""

    def __init__(self) -> None:
        self._calls = 0

    def unix_us(self) -> int:
        """The same moment, always."""
        return NOW_S * 1_000_000 + 999_999

    def monotonic_ns(self) -> int:
        """Nothing ever takes time."""
        return 0

    def random_bytes(self, count: int) -> bytes:
        """Bytes that begin 00, then 01, and so on."""
        self._calls += 1
        return bytes([self._calls - 1]) * count


@pytest.fixture
def keys() -> MemoryKeys:
    """An empty store."""
    return MemoryKeys()


@pytest.fixture
def administration(keys: MemoryKeys) -> KeyAdministration:
    """The use cases over it."""
    return KeyAdministration(keys, StillClock())


def stored(key_id: str, name: str, revoked_at_s: int | None = None) -> StoredKey:
    """A key at rest."""
    return StoredKey(KeyId(key_id), name, bytes(32), 0, revoked_at_s=revoked_at_s)


async def test_a_made_key_is_stored_without_its_secret(
    administration: KeyAdministration, keys: MemoryKeys
) -> None:
    """The text opens the stored key, which holds a hash and not the secret."""
    key, text = await administration.create(" a name ", ["auto", "auto", "big"], 3_600)
    (found,) = await keys.all()
    presented = take_apart(text)
    assert presented is not None
    assert found == key
    assert (key.key_id, key.name, key.created_at_s) == (presented.key_id, "a name", NOW_S)
    assert key.routes == frozenset({"auto", "big"})
    assert key.expires_at_s == NOW_S + 3_600
    assert key.opens_with(presented.secret)
    assert presented.secret.encode() not in key.secret_sha256
    assert list(await administration.list()) == [key]


async def test_defaults_are_every_route_and_no_end(administration: KeyAdministration) -> None:
    """None means every route and no expiry."""
    key, _ = await administration.create("n", None, None)
    assert (key.routes, key.expires_at_s, key.revoked_at_s) == (None, None, None)


@pytest.mark.parametrize("name", ["", "   ", "a" * 101, "two\nlines", "\x1b[31mred", "nul\x00"])
async def test_names_that_are_refused(
    administration: KeyAdministration, keys: MemoryKeys, name: str
) -> None:
    """A name is 1 to 100 printable characters; nothing is stored otherwise."""
    with pytest.raises(InvalidRequest, match="name"):
        await administration.create(name, None, None)
    assert list(await keys.all()) == []


@pytest.mark.parametrize("name", ["a", "é" * 100, "école n° 3", "学校", "'; DROP TABLE keys; --"])
async def test_names_that_are_fine(administration: KeyAdministration, name: str) -> None:
    """Any printable text of that length is a name."""
    assert (await administration.create(name, None, None))[0].name == name


@pytest.mark.parametrize("routes", [[], [""], ["auto", ""], ["a\nb"]])
async def test_routes_that_are_refused(
    administration: KeyAdministration, routes: Sequence[str]
) -> None:
    """A scope of no route, or of a route without a name, is a mistake."""
    with pytest.raises(InvalidRequest, match="route"):
        await administration.create("n", routes, None)


@pytest.mark.parametrize("seconds", [0, -1, 10**18])
async def test_lifetimes_that_are_refused(administration: KeyAdministration, seconds: int) -> None:
    """A key that is dead when born, or outlives every calendar, is a mistake."""
    with pytest.raises(InvalidRequest, match="lives"):
        await administration.create("n", None, seconds)


@pytest.mark.parametrize("which", ["abcdef012345", "abcd", " ABCDEF ", "front desk"])
async def test_ways_to_name_a_key(
    administration: KeyAdministration, keys: MemoryKeys, which: str
) -> None:
    """By id, by the beginning of one in any case, by name."""
    await keys.add(stored("abcdef012345", "front desk"))
    await keys.add(stored("abc999999999", "other"))
    revoked = await administration.revoke(which)
    assert (revoked.key_id, revoked.revoked_at_s) == ("abcdef012345", NOW_S)
    assert [key.revoked_at_s for key in await keys.all()] == [None, NOW_S]


async def test_a_leaked_key_can_be_pasted(
    administration: KeyAdministration, keys: MemoryKeys
) -> None:
    """A whole key names itself; when it is unknown its secret is not repeated."""
    key, text = await administration.create("leaked", None, None)
    assert (await administration.revoke(text)).key_id == key.key_id
    unknown = text.replace("_00", "_ff")
    with pytest.raises(InvalidRequest) as caught:
        await administration.revoke(unknown)
    assert unknown[-64:] not in str(caught.value)


@pytest.mark.parametrize("which", ["", "abc", "nobody", "ABCDEF0123456", "%", "abcd%"])
async def test_nothing_of_that_name(
    administration: KeyAdministration, keys: MemoryKeys, which: str
) -> None:
    """An unknown text, or too short a beginning, revokes nothing and tells where to look."""
    await keys.add(stored("abcdef012345", "front desk"))
    with pytest.raises(InvalidRequest, match="no key") as caught:
        await administration.revoke(which)
    assert "keys list" in caught.value.next_step
    assert (await keys.all())[0].revoked_at_s is None


@pytest.mark.parametrize("which", ["abcd", "desk"])
async def test_several_are_meant(
    administration: KeyAdministration, keys: MemoryKeys, which: str
) -> None:
    """An ambiguous beginning or name revokes nothing and lists the ids."""
    await keys.add(stored("abcd00000000", "desk"))
    await keys.add(stored("abcd11111111", "desk"))
    with pytest.raises(InvalidRequest, match="abcd00000000, abcd11111111"):
        await administration.revoke(which)
    assert all(key.revoked_at_s is None for key in await keys.all())


async def test_a_name_that_begins_another_id(
    administration: KeyAdministration, keys: MemoryKeys
) -> None:
    """A name and a beginning that mean two keys are ambiguous; a whole id never is."""
    await keys.add(stored("abcd00000000", "one"))
    await keys.add(stored("eeee11111111", "abcd"))
    await keys.add(stored("ffff22222222", "abcd00000000"))
    with pytest.raises(InvalidRequest, match="2 keys"):
        await administration.revoke("abcd")
    assert (await administration.revoke("abcd00000000")).name == "one"


async def test_already_revoked(administration: KeyAdministration, keys: MemoryKeys) -> None:
    """Revoking again is told; a name whose other holders are revoked means the one left."""
    await keys.add(stored("aaaa00000000", "desk", revoked_at_s=5))
    with pytest.raises(InvalidRequest, match="revoked already"):
        await administration.revoke("desk")
    await keys.add(stored("bbbb00000000", "desk"))
    assert (await administration.revoke("desk")).key_id == "bbbb00000000"
