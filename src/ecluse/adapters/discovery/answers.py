"""What local servers say of themselves: bytes in, offers out. No I/O here; odd answers are read
as far as they make sense, and never raise.

Ollama   https://github.com/ollama/ollama/blob/main/docs/api.md
LM Studio https://lmstudio.ai/docs/developer/rest/endpoints
llama.cpp https://github.com/ggml-org/llama.cpp/tree/master/tools/server
vLLM     its ``/v1/models`` adds ``max_model_len``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.catalog.model_names import is_model_name

OLLAMA_CONTEXT_TOKENS = 4_096
"""What Ollama serves below 24 GiB of video memory unless told otherwise (its documentation on
context length); it cuts longer prompts silently, so the least of its defaults is assumed."""

MOST = 10**15
"""No count is larger; what is cannot be stored or shown everywhere."""

Json = Mapping[str, Any]


def json_object(body: bytes) -> Json:
    """A JSON object, or an empty one where the body is something else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def ollama_models(tags: bytes) -> tuple[str, ...]:
    """The model names of ``GET /api/tags``, without those that Ollama passes on to its cloud:
    they would show prompts to others, which nobody has allowed.
    """
    return tuple(
        model["name"]
        for model in _objects(json_object(tags), "models")
        if is_model_name(model.get("name")) and not _is_remote(model)
    )


def ollama_offer(name: str, show: bytes, running: bytes) -> Offer | None:
    """An offer from ``POST /api/show`` and ``GET /api/ps``; None for a model that cannot chat
    or is not on this machine.

    The context is what is served, not what the model could: a loaded model's as ``ps`` tells it,
    else the model file's ``num_ctx``, else Ollama's default, never above the model's own.
    """
    told = json_object(show)
    capabilities = told.get("capabilities")
    abilities = capabilities if isinstance(capabilities, list) else None
    if _is_remote(told) or (abilities is not None and "completion" not in abilities):
        return None
    info = told.get("model_info")
    info = info if isinstance(info, dict) else {}
    own = next((_count(v) for k, v in info.items() if str(k).endswith(".context_length")), None)
    served = _running_context(name, running) or _num_ctx(told.get("parameters"))
    context = served or OLLAMA_CONTEXT_TOKENS
    return Offer(
        name,
        context_tokens=context if own is None else min(context, own),
        accepts_images=None if abilities is None else "vision" in abilities,
        parameters=_count(info.get("general.parameter_count")),
    )


def lm_studio_offers(models: bytes) -> tuple[Offer, ...]:
    """Offers from ``GET /api/v0/models``: language models and those that see."""
    return tuple(
        Offer(
            model["id"],
            context_tokens=_count(model.get("loaded_context_length"))
            or _count(model.get("max_context_length")),
            accepts_images=model.get("type") == "vlm",
        )
        for model in _objects(json_object(models), "data")
        if is_model_name(model.get("id")) and model.get("type") in ("llm", "vlm")
    )


def llama_cpp_offers(models: bytes, props: bytes) -> tuple[Offer, ...]:
    """Offers from ``GET /v1/models`` and ``GET /props``."""
    told = json_object(props)
    settings = told.get("default_generation_settings")
    context = _count(settings.get("n_ctx")) if isinstance(settings, dict) else None
    modalities = told.get("modalities")
    vision = modalities.get("vision") if isinstance(modalities, dict) else None
    offers = []
    for model in _objects(json_object(models), "data"):
        if is_model_name(model.get("id")):
            meta = model.get("meta")
            parameters = _count(meta.get("n_params")) if isinstance(meta, dict) else None
            offers.append(
                Offer(
                    model["id"],
                    context_tokens=context,
                    accepts_images=vision if isinstance(vision, bool) else None,
                    gives_logprobs=True,
                    parameters=parameters,
                    continuation="prefill",
                    logprobs_in_tool_streams=False,
                )
            )
    return tuple(offers)


def vllm_offers(models: bytes) -> tuple[Offer, ...]:
    """Offers from vLLM's ``GET /v1/models``."""
    return tuple(
        Offer(
            model["id"],
            context_tokens=_count(model.get("max_model_len")),
            gives_logprobs=True,
            continuation="continue_final_message",
        )
        for model in _objects(json_object(models), "data")
        if is_model_name(model.get("id"))
    )


def is_vllm(models: bytes) -> bool:
    """Whether a ``GET /v1/models`` is vLLM's."""
    return any(
        model.get("owned_by") == "vllm" or "max_model_len" in model
        for model in _objects(json_object(models), "data")
    )


def _objects(told: Json, key: str) -> list[Json]:
    values = told.get(key)
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _is_remote(model: Json) -> bool:
    return bool(model.get("remote_host") or model.get("remote_model"))


def _count(value: object) -> int | None:
    """A number of tokens or parameters that can be one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST:
        return value
    return None


def _running_context(name: str, running: bytes) -> int | None:
    for model in _objects(json_object(running), "models"):
        if name in (model.get("name"), model.get("model")):
            return _count(model.get("context_length"))
    return None


def _num_ctx(parameters: object) -> int | None:
    """``num_ctx`` out of a model file's parameters, one ``name value`` a line."""
    if not isinstance(parameters, str):
        return None
    for line in parameters.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "num_ctx" and words[1].isdecimal():
            return int(words[1][:9]) or None
    return None
