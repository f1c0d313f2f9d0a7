"""How many tokens an attempt used, and how we know."""

from __future__ import annotations

from typing import Literal

import msgspec

UsageSource = Literal["reported", "tokenizer", "estimate"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one attempt.

    ``cached_tokens`` are part of ``prompt_tokens``; ``reasoning_tokens`` are part of
    ``completion_tokens``, as in the OpenAI API. ``source`` says whether the upstream reported
    them, the engine's tokenizer counted them, or they are an estimate.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "reported"
