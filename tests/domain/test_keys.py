"""How a key is written, taken apart and checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.values.identifiers import KeyId
from ecluse.domain.values.keys import (
    ID_BYTES,
    SECRET_BYTES,
    StoredKey,
    compose,
    hash_secret,
    take_apart,
)

randomness = st.binary(min_size=ID_BYTES + SECRET_BYTES, max_size=ID_BYTES + SECRET_BYTES)
A_KEY = compose(bytes(range(ID_BYTES + SECRET_BYTES)))[2]


@given(randomness)
def test_round_trip(random: bytes) -> None:
    """What was composed is taken apart into the same id and secret."""
    key_id, secret, text = compose(random)
    assert take_apart(text) == (key_id, secret)


@given(st.one_of(st.text(), st.from_regex(r"ecl_[0-9a-fA-F]{12}_[0-9a-zA-Z]{64}\s?")))
def test_nothing_else_is_a_key(text: str) -> None:
    """Whatever is accepted is exactly what its parts are written as."""
    presented = take_apart(text)
    if presented is not None:
        random = bytes.fromhex(presented.key_id + presented.secret)
        assert compose(random) == (*presented, text)


@given(st.integers(0, len(A_KEY)), st.characters(), st.booleans())
def test_one_wrong_character(place: int, character: str, inserted: bool) -> None:
    """A key with one character changed or put in is refused or is another key, never the same."""
    changed = A_KEY[:place] + character + A_KEY[place + (not inserted) :]
    if changed != A_KEY:
        assert take_apart(changed) != take_apart(A_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ecl__",
        A_KEY.upper(),
        A_KEY + "\n",
        " " + A_KEY,
        A_KEY.replace("0", "٠"),
        A_KEY.replace("ecl_", "sk-"),
        "ecl_' OR 1=1--_" + "0" * 64,
    ],
)
def test_texts_that_are_no_keys(text: str) -> None:
    """Near misses are refused: case, white space, other digits, other prefixes, SQL."""
    assert take_apart(text) is None


@pytest.mark.parametrize("count", [0, ID_BYTES + SECRET_BYTES - 1, ID_BYTES + SECRET_BYTES + 1])
def test_wrong_amount_of_randomness(count: int) -> None:
    """A key is never made from fewer random bytes than it needs."""
    with pytest.raises(ValueError, match="random bytes"):
        compose(bytes(count))


@given(randomness, randomness)
def test_only_its_secret_opens_it(random: bytes, other: bytes) -> None:
    """A stored key opens with its own secret and with no other."""
    key_id, secret, _ = compose(random)
    stored = StoredKey(key_id, "n", hash_secret(secret), 0)
    other_secret = compose(other)[1]
    assert stored.opens_with(secret)
    assert stored.opens_with(other_secret) == (secret == other_secret)


def test_validity_ends_with_the_second() -> None:
    """A key is valid before its expiry, not in that second, and never once revoked."""
    key = StoredKey(KeyId("a"), "n", b"", 0, expires_at_s=100)
    assert key.is_valid(99)
    assert not key.is_valid(100)
    assert not StoredKey(KeyId("a"), "n", b"", 0, revoked_at_s=50).is_valid(10)


def test_scope_of_an_account() -> None:
    """A key without routes may use every one; with routes, only those."""
    everything = StoredKey(KeyId("a"), "n", b"", 0).account()
    some = StoredKey(KeyId("a"), "n", b"", 0, routes=frozenset({"auto"})).account()
    assert everything.may_use("anything")
    assert some.may_use("auto")
    assert not some.may_use("large")
