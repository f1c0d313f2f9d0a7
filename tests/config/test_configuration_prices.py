"""Prices are exact, or refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.config.load import parse
from ecluse.config.prices import MOST_PER_MILLION, nano_per_million, terms_of
from ecluse.config.schema import HttpUpstream, Price
from ecluse.domain.errors import ConfigurationError
from ecluse.domain.values.money import PriceTerms

FILE = """
[[upstreams]]
kind = "http"
name = "far"
url = "https://far/v1"
[[upstreams.models]]
name = "m"
[upstreams.models.price]
completion_per_million = 1
prompt_per_million = """


def read(amount: str) -> Price:
    """The price of a file whose prompt tokens cost ``amount``."""
    upstream = parse(FILE + amount, "f").upstreams[0]
    assert isinstance(upstream, HttpUpstream)
    price = upstream.models[0].price
    assert price is not None
    return price


@given(st.integers(0, MOST_PER_MILLION * 10**9), st.booleans())
def test_every_nano_unit_comes_through(nano: int, quoted: bool) -> None:
    """A number and a text give the very nano-units that were written, however many digits."""
    written = f"{nano // 10**9}.{nano % 10**9:09d}"
    assert terms_of(read(f'"{written}"' if quoted else written)).prompt_nano == nano


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_no_amount_is_rounded(amount: Decimal) -> None:
    """An amount becomes exactly its nano-units, or it is refused."""
    try:
        nano = nano_per_million(amount)
    except ValueError:
        fits = amount.is_finite() and 0 <= amount <= MOST_PER_MILLION
        assert not fits or (Fraction(amount) * 10**9).denominator != 1
    else:
        assert Fraction(nano) == Fraction(amount) * 10**9


def test_terms() -> None:
    """Cached tokens cost what prompt tokens do, unless the file says otherwise."""
    assert terms_of(read("0.1")) == PriceTerms("USD", 100_000_000, 10**9, 100_000_000)
    discounted = read("3e-1\ncached_per_million = '0.075'\ncurrency = 'EUR'")
    assert terms_of(discounted) == PriceTerms("EUR", 300_000_000, 10**9, 75_000_000)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("-0.1", "a price cannot be negative"),
        ("0.0000000001", "an amount has at most nine decimal places (a nano-unit)"),
        ('"1e-999999999"', "an amount has at most nine decimal places (a nano-unit)"),
        (f'"0.{"1" * 80}"', "an amount has at most nine decimal places (a nano-unit)"),
        ("1_000_000.5", "expected at most 1000000 for a million tokens"),
        ('"1e999999999"', "expected at most 1000000 for a million tokens"),
        ("inf", "expected a finite amount"),
        ('"sNaN"', "expected a finite amount"),
    ],
)
def test_refusals(amount: str, reason: str) -> None:
    """What is no amount of nano-units is refused at its line."""
    with pytest.raises(ConfigurationError) as caught:
        parse(FILE + amount, "f")
    assert str(caught.value) == (f"f:10: upstreams[0].models[0].price.prompt_per_million: {reason}")
