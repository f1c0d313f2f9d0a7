"""The ``/tokenize`` endpoint of llama.cpp and vLLM: one question both understand."""

from __future__ import annotations

import msgspec

from ecluse.adapters.upstreams.openai_wire import TOKENS_AT_MOST


class _Answer(msgspec.Struct):
    tokens: list[msgspec.Raw] | None = None
    count: int | None = None


def question(model: str, text: str) -> bytes:
    """The body to send: llama.cpp reads ``content``, vLLM ``model`` and ``prompt``."""
    return msgspec.json.encode({"model": model, "prompt": text, "content": text})


def answer(body: bytes) -> int | None:
    """The number of tokens, or None where the answer does not say."""
    try:
        told = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if told.count is not None:
        return told.count if 0 <= told.count <= TOKENS_AT_MOST else None
    return len(told.tokens) if told.tokens is not None else None
