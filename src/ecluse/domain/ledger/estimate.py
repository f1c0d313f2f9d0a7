"""Tokens of a text when nobody counted them."""

from __future__ import annotations

from collections.abc import Iterable

BYTES_PER_TOKEN = 4
"""The common rule of thumb for English; Chinese at three bytes a character comes out near one
token for each."""

TOKENS_PER_MESSAGE = 4
"""Role markers and separators of a chat template."""


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a generated text; at least one unless it is empty."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def estimate_prompt_tokens(texts: Iterable[str]) -> int:
    """Estimate the tokens of a prompt, its template included; never zero."""
    return max(1, sum(estimate_tokens(text) + TOKENS_PER_MESSAGE for text in texts))
