"""The price of an attempt: exact integers, rounded once."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.ledger.pricing import price
from ecluse.domain.values.money import TOKENS_PER_QUOTE, Money, PriceTerms
from ecluse.domain.values.usage import Usage

quotes = st.integers(0, 10**12)
terms = st.builds(PriceTerms, st.just("USD"), quotes, quotes, quotes)
counts = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage whose cached tokens are part of the prompt."""
    prompt = draw(counts)
    return Usage(prompt, draw(counts), draw(st.integers(0, prompt)))


def nano(usage: Usage, quoted: PriceTerms) -> int:
    """The price as a number; it is known here."""
    money = price(usage, quoted)
    assert money is not None
    return money.nano


def exact(usage: Usage, quoted: PriceTerms) -> Fraction:
    """The price before rounding."""
    total = (
        (usage.prompt_tokens - usage.cached_tokens) * quoted.prompt_nano
        + usage.cached_tokens * quoted.cached_nano
        + usage.completion_tokens * quoted.completion_nano
    )
    return Fraction(total, TOKENS_PER_QUOTE)


@given(usages(), terms)
def test_rounded_once_half_up(usage: Usage, quoted: PriceTerms) -> None:
    """The booked price lies within half a nano-unit of the exact one, a half going up."""
    difference = nano(usage, quoted) - exact(usage, quoted)
    assert Fraction(-1, 2) < difference <= Fraction(1, 2)


@given(usages(), terms, counts, counts)
def test_monotone(usage: Usage, quoted: PriceTerms, prompt: int, completion: int) -> None:
    """More tokens never cost less."""
    more = Usage(
        usage.prompt_tokens + prompt, usage.completion_tokens + completion, usage.cached_tokens
    )
    assert nano(more, quoted) >= nano(usage, quoted)


@given(usages(), usages(), terms)
def test_splitting_gains_nothing(one: Usage, other: Usage, quoted: PriceTerms) -> None:
    """Two attempts cost what one of both together does, to one nano-unit."""
    both = Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.cached_tokens + other.cached_tokens,
    )
    assert abs(nano(one, quoted) + nano(other, quoted) - nano(both, quoted)) <= 1


@given(counts, counts, terms)
def test_cached_tokens_are_part_of_the_prompt(prompt: int, cached: int, quoted: PriceTerms) -> None:
    """An upstream that reports more cached tokens than prompt tokens is not paid for the rest."""
    clamped = Usage(prompt, 0, min(cached, prompt))
    assert nano(Usage(prompt, 0, cached), quoted) == nano(clamped, quoted)


@given(usages())
def test_unknown_is_not_zero(usage: Usage) -> None:
    """Without terms there is no price; with terms of nothing the price is nothing."""
    assert price(usage, None) is None
    assert price(usage, PriceTerms("EUR", 0, 0, 0)) == Money(0, "EUR")


def test_an_everyday_price() -> None:
    """1,200 prompt tokens (200 of them cached) and 300 others at 3, 0.30 and 15 USD a million."""
    quoted = PriceTerms("USD", 3_000_000_000, 15_000_000_000, 300_000_000)
    assert price(Usage(1_200, 300, 200), quoted) == Money(7_560_000, "USD")
