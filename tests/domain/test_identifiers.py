"""Identifiers are UUIDv7 as RFC 9562 section 5.7 lays them out."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.values.identifiers import RANDOM_BYTES, uuid7

times_ms = st.integers(0, 2**48 - 1)
randomness = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_the_example_of_the_standard() -> None:
    """RFC 9562 appendix A.6 gives a time, the random bits and the identifier."""
    bits = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    made = uuid7(0x017F22E279B0, bits.to_bytes(RANDOM_BYTES, "big"))
    assert made == "017f22e279b07cc398c4dc0c0c07398f"


@given(times_ms, randomness)
def test_version_variant_and_time(time_ms: int, random: bytes) -> None:
    """Version 7, the RFC's variant, and the time in the first 48 bits, for any input."""
    made = uuid.UUID(uuid7(time_ms, random))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == time_ms


@given(times_ms, times_ms, randomness, randomness)
def test_texts_sort_by_time(first_ms: int, second_ms: int, one: bytes, other: bytes) -> None:
    """An earlier millisecond sorts first, whatever the random bits."""
    if first_ms != second_ms:
        assert (uuid7(first_ms, one) < uuid7(second_ms, other)) == (first_ms < second_ms)


@given(times_ms, st.sets(st.integers(0, 2**74 - 1), min_size=2, max_size=20))
def test_every_random_bit_counts(time_ms: int, numbers: set[int]) -> None:
    """All 74 bits reach the identifier: different ones never make the same."""
    made = {uuid7(time_ms, number.to_bytes(RANDOM_BYTES, "big")) for number in numbers}
    assert len(made) == len(numbers)


@pytest.mark.parametrize("count", [0, RANDOM_BYTES - 1, RANDOM_BYTES + 1])
def test_wrong_amount_of_randomness(count: int) -> None:
    """Too few or too many random bytes are a mistake of ours, and said so."""
    with pytest.raises(ValueError, match="random bytes"):
        uuid7(0, bytes(count))
