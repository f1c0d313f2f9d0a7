"""Estimates of tokens that nobody counted."""

from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.ledger.estimate import estimate_prompt_tokens, estimate_tokens

TEXTS = st.text(st.characters(), max_size=50)


@given(TEXTS)
def test_something_is_never_nothing(text: str) -> None:
    """A generated text costs at least a token, and never more than its bytes."""
    tokens = estimate_tokens(text)
    assert (tokens == 0) == (text == "")
    assert tokens <= len(text.encode(errors="replace"))


@given(TEXTS, TEXTS)
def test_more_text_is_not_less(first: str, second: str) -> None:
    """It grows with the text, and cutting a text in two hides nothing."""
    both = estimate_tokens(first + second)
    assert max(estimate_tokens(first), estimate_tokens(second)) <= both
    assert both <= estimate_tokens(first) + estimate_tokens(second)


@given(st.lists(TEXTS, max_size=5))
def test_a_prompt_is_never_free(texts: list[str]) -> None:
    """Not even one without any text (of images only, say), and its messages have a template."""
    tokens = estimate_prompt_tokens(texts)
    assert tokens >= 1
    assert tokens >= sum(map(estimate_tokens, texts)) + len(texts)
    assert estimate_prompt_tokens([*texts, "x"]) > (tokens if texts else 0)


def test_half_a_surrogate_is_counted() -> None:
    """JSON may hold one, UTF-8 may not."""
    assert estimate_tokens("\ud800") == 1


def test_examples() -> None:
    """Four bytes to a token, rounded up; four tokens to a message."""
    assert [estimate_tokens(text) for text in ("a", "four", "fives", "语言")] == [1, 1, 2, 2]
    assert estimate_prompt_tokens(["four", ""]) == 9
