"""``GET /v1/models`` of an upstream, with the facts that some servers add to it."""

from __future__ import annotations

from typing import Any

import msgspec

from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.catalog.model_names import is_model_name
from ecluse.domain.errors import UpstreamGarbage


class _Meta(msgspec.Struct):
    n_ctx: Any = None
    n_params: Any = None


class _Model(msgspec.Struct):
    id: str
    max_model_len: Any = None
    """vLLM"""
    context_length: Any = None
    """OpenRouter, Together"""
    context_window: Any = None
    """Groq"""
    max_context_length: Any = None
    """Mistral"""
    meta: _Meta | None = None
    """llama.cpp"""


class _ModelList(msgspec.Struct):
    data: list[_Model]


def read_model_list(body: bytes) -> tuple[Offer, ...]:
    """Read the models a server lists, without those whose name cannot be one.

    Raises UpstreamGarbage.
    """
    try:
        listed = msgspec.json.decode(body, type=_ModelList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamGarbage(f"The upstream's list of models cannot be read: {error}.") from error
    return tuple(_offer(model) for model in listed.data if is_model_name(model.id))


def _offer(model: _Model) -> Offer:
    meta = model.meta or _Meta()
    contexts = (
        model.max_model_len,
        model.context_length,
        model.context_window,
        model.max_context_length,
        meta.n_ctx,
    )
    return Offer(
        upstream_model=model.id,
        context_tokens=next((c for c in map(_positive, contexts) if c), None),
        parameters=_positive(meta.n_params),
    )


def _positive(number: object) -> int | None:
    return number if isinstance(number, int) and number > 0 else None
