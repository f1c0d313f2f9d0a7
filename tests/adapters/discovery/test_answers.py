"""What local servers say of themselves, read from real and from mutilated answers."""

import copy
import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.discovery import real_answers as real

from ecluse.adapters.discovery import answers
from ecluse.domain.catalog.deployments import Offer

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, "", "x" * 5_000, "\x1b[31m", [], {}, [None], {"a": []}, "\u0669",
)  # fmt: skip


def encoded(value: object) -> bytes:
    """An answer's bytes."""
    return json.dumps(value).encode()


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, dict | list):
            found.extend(places(inner))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real answer with some values exchanged, or cut short."""
    answer = copy.deepcopy(draw(st.sampled_from(real.EVERY_ANSWER)))
    chance = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(0, 4))):
        container, key = chance.choice(places(answer) or [(answer, "x")])
        container[key] = copy.deepcopy(chance.choice(ODD))
    body = encoded(answer)
    return body if chance.random() < 0.8 else body[: chance.randrange(len(body) + 1)]


def read_all(first: bytes, second: bytes, name: str) -> list[Offer]:
    """Every reader on the same bytes."""
    offer = answers.ollama_offer(name, first, second)
    answers.is_vllm(first)
    for model in answers.ollama_models(first):
        assert answers.ollama_offer(model, second, first) is None or model
    return [
        *([] if offer is None else [offer]),
        *answers.lm_studio_offers(first),
        *answers.llama_cpp_offers(first, second),
        *answers.vllm_offers(first),
    ]


@settings(max_examples=300)
@given(st.binary() | mutated(), st.binary() | mutated(), st.sampled_from(["gemma3:4b", "", "x"]))
def test_no_answer_raises(first: bytes, second: bytes, name: str) -> None:
    """Whatever a server sends, the readers give offers with sound values, which can be stored."""
    for offer in read_all(first, second, name):
        msgspec.json.encode(offer)
        assert offer.context_tokens is None or offer.context_tokens > 0
        assert offer.accepts_images in (None, True, False)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"", b"null"])
def test_hostile_bytes_are_an_empty_answer(body: bytes) -> None:
    """Nesting without end, other encodings and other types read as nothing said."""
    assert answers.json_object(body) == {}


@pytest.mark.parametrize("context", [0, -1, 2**70, True, "4096", 4096.5, None])
def test_an_impossible_count_is_unknown(context: object) -> None:
    """What cannot be a number of tokens, or could not be stored, is not believed."""
    (offer,) = answers.vllm_offers(encoded({"data": [{"id": "m", "max_model_len": context}]}))
    assert offer.context_tokens is None


def test_a_name_that_would_break_a_header_is_left_out() -> None:
    """Whichever server says it: names are told in headers, logs and lists."""
    named = {"id": "m\r\nx: y", "name": "m\r\nx: y", "type": "llm"}
    listed = encoded({"data": [named], "models": [named]})
    assert read_all(listed, listed, "m") == [Offer("m", context_tokens=4_096)]
    assert answers.ollama_models(listed) == ()


def test_ollama_names() -> None:
    """The installed models, without what Ollama would send to its cloud."""
    names = answers.ollama_models(encoded(real.OLLAMA_TAGS))
    assert names == ("gemma3:4b", "nomic-embed-text:latest")


def test_an_ollama_model_in_memory() -> None:
    """A loaded model has the context it was loaded with, not the one it could have."""
    offer = answers.ollama_offer("gemma3:4b", encoded(real.OLLAMA_SHOW), encoded(real.OLLAMA_PS))
    assert offer == Offer(
        "gemma3:4b", context_tokens=32768, accepts_images=True, parameters=4299915632
    )


@pytest.mark.parametrize(
    ("parameters", "own", "context"),
    [
        (None, 131072, 4096),
        ("", 131072, 4096),
        ('num_ctx                        16384\nstop "</s>"', 131072, 16384),
        ("num_ctx 16384", 8192, 8192),
        (None, 2048, 2048),
        ("num_ctx many", None, 4096),
        ("num_ctx 0", None, 4096),
    ],
)
def test_the_context_of_an_ollama_model_at_rest(
    parameters: str | None, own: int | None, context: int
) -> None:
    """The model file's num_ctx, else Ollama's default, never above the model's own."""
    show = {"parameters": parameters, "model_info": {"llama.context_length": own}}
    offer = answers.ollama_offer("m", encoded(show), b"{}")
    assert offer is not None
    assert offer.context_tokens == context
    assert offer.accepts_images is None


def test_ollama_models_that_cannot_answer() -> None:
    """Embedding models and models elsewhere are not offered."""
    assert answers.ollama_offer("e", encoded(real.OLLAMA_SHOW_EMBEDDING), b"{}") is None
    elsewhere = real.OLLAMA_SHOW | {"remote_host": "https://ollama.com:443"}
    assert answers.ollama_offer("m", encoded(elsewhere), b"{}") is None


def test_lm_studio() -> None:
    """Language models and those that see; a loaded one has the context it was loaded with."""
    sees, reads = answers.lm_studio_offers(encoded(real.LM_STUDIO_MODELS))
    assert sees == Offer("qwen2-vl-7b-instruct", context_tokens=32768, accepts_images=True)
    assert reads == Offer("meta-llama-3.1-8b-instruct", context_tokens=8192, accepts_images=False)
    assert answers.lm_studio_offers(encoded(real.VLLM_MODELS)) == ()


def test_llama_cpp() -> None:
    """The context is that of a slot, the parameters those of the model's meta data."""
    models, props = encoded(real.LLAMA_CPP_MODELS), encoded(real.LLAMA_CPP_PROPS)
    (offer,) = answers.llama_cpp_offers(models, props)
    assert offer == Offer(
        "Qwen3-4B-Q4_K_M.gguf",
        context_tokens=8192,
        accepts_images=False,
        gives_logprobs=True,
        continuation="prefill",
        logprobs_in_tool_streams=False,
        parameters=4022468096,
    )


def test_vllm() -> None:
    """Models and adapters; only vLLM's own list is taken for one."""
    body = encoded(real.VLLM_MODELS)
    base, adapter = answers.vllm_offers(body)
    assert (base.context_tokens, base.gives_logprobs) == (32768, True)
    assert base.continuation == "continue_final_message"
    assert (adapter.upstream_model, adapter.context_tokens) == ("our-lora", None)
    assert answers.is_vllm(body)
    assert not answers.is_vllm(encoded(real.LLAMA_CPP_MODELS))
    assert not answers.is_vllm(encoded(real.OLLAMA_MODELS))
