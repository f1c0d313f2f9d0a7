"""Suppliers of paid APIs that speak the OpenAI protocol: facts, no judgement.

The base URLs are those their own documentation gives for OpenAI clients (read November 2026).
``jurisdiction`` is the ISO 3166 code of the country whose law the company answers to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec


class Supplier(msgspec.Struct, frozen=True):
    """A paid API. ``key_variable`` is the environment variable its own SDK reads."""

    name: str
    key_variable: str
    url: str
    jurisdiction: str


class PaidKey(msgspec.Struct, frozen=True):
    """A supplier whose key stands in the environment. The key itself is not kept here."""

    supplier: Supplier
    enabled: bool


SUPPLIERS: tuple[Supplier, ...] = (
    Supplier("openai", "OPENAI_API_KEY", "https://api.openai.com/v1", "US"),
    Supplier("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1", "US"),
    Supplier(
        "gemini",
        "GEMINI_API_KEY",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "US",
    ),
    Supplier("mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1", "FR"),
    Supplier("groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1", "US"),
    Supplier("together", "TOGETHER_API_KEY", "https://api.together.xyz/v1", "US"),
    Supplier("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", "US"),
    Supplier("xai", "XAI_API_KEY", "https://api.x.ai/v1", "US"),
    Supplier("cohere", "COHERE_API_KEY", "https://api.cohere.ai/compatibility/v1", "CA"),
    Supplier("deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com", "CN"),
    Supplier(
        "alibaba",
        "DASHSCOPE_API_KEY",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "CN",
    ),
)


def keys_found(environment: Mapping[str, str], enabled: Collection[str]) -> tuple[PaidKey, ...]:
    """The suppliers whose key is in the environment, and whether each may be used.

    A key in the environment alone enables nothing: it spends money and shows prompts to others.
    """
    return tuple(
        PaidKey(supplier, supplier.name in enabled)
        for supplier in SUPPLIERS
        if environment.get(supplier.key_variable, "").strip()
    )
