"""The ``[[upstreams]]`` of ``ecluse.toml``: who answers, with which models, at what price.

As in ``schema``, the descriptions are the source of the documentation.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ecluse.config.values import (
    CURRENCY_PATTERN,
    VARIABLE_PATTERN,
    Count,
    Limit,
    Milliseconds,
    ModelName,
    Text,
    Tokens,
    UpstreamName,
)

# Long, since a large model on a slow machine reads a long prompt before it says a word.
SECONDS_TO_FIRST_TOKEN = 300.0
SECONDS_BETWEEN_TOKENS = 60.0
SECONDS_FOR_WHOLE_ANSWER = 600.0

FirstToken: TypeAlias = Annotated[
    Limit, Meta(description="Longest wait for a stream's first token before it is given up.")
]
BetweenTokens: TypeAlias = Annotated[
    Limit,
    Meta(
        description="Longest wait for a stream's next token; then another deployment goes on with "
        "the answer, where one can."
    ),
]
WholeAnswer: TypeAlias = Annotated[
    Limit, Meta(description="Longest wait for an answer that is not streamed.")
]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model costs. Amounts are exact: write them as numbers or as text.

    Up to nine decimal places, from 0 to 1000000. Without a price an answer is booked without one.
    """

    prompt_per_million: Annotated[
        Decimal, Meta(description="Price of a million prompt tokens.", examples=["0.15"])
    ]
    completion_per_million: Annotated[
        Decimal, Meta(description="Price of a million tokens of the answer.", examples=["0.60"])
    ]
    cached_per_million: Annotated[
        Decimal | None,
        Meta(
            description="Price of a million prompt tokens read from the upstream's cache; unset: "
            "that of other prompt tokens.",
            examples=["0.075"],
        ),
    ] = None
    currency: Annotated[
        str,
        Meta(
            description="Currency of the amounts (ISO 4217).",
            pattern=CURRENCY_PATTERN,
        ),
    ] = "USD"


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of an HTTP upstream. What is left unset is asked of the upstream.

    A model that the upstream does not list is offered all the same.
    """

    name: Annotated[
        ModelName,
        Meta(description="What clients call it.", examples=["mistral-small"]),
    ]
    upstream_name: Annotated[
        Text | None,
        Meta(
            description="What the upstream calls it; unset: the same.",
            examples=["mistral-small-latest"],
        ),
    ] = None
    context_tokens: Annotated[
        Tokens | None,
        Meta(description="Longest prompt and answer together.", examples=[131072]),
    ] = None
    accepts_images: Annotated[
        bool | None, Meta(description="Whether it reads images.", examples=[True])
    ] = None
    gives_logprobs: Annotated[
        bool | None,
        Meta(
            description="Whether its answers can carry log-probabilities, which routes decide on.",
            examples=[False],
        ),
    ] = None
    can_continue: Annotated[
        Literal["prefill", "continue_final_message", "prefix"] | None,
        Meta(
            description="How it is told to go on with an answer that another deployment began; "
            "unset: it cannot. prefill: the beginning is the last message (llama.cpp); "
            "continue_final_message: that, as vLLM wants it; prefix: as Mistral and DeepSeek do.",
            examples=["prefill"],
        ),
    ] = None
    price: Annotated[
        Price | None, Meta(description="What it costs; unset: it is booked without a price.")
    ] = None


class HttpUpstream(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="http"
):
    """A server that speaks the OpenAI API: llama-server, Ollama, vLLM or a paid supplier."""

    name: Annotated[UpstreamName, Meta(description="What it is called here.", examples=["mistral"])]
    url: Annotated[
        Text,
        Meta(
            description="Base address, up to and with /v1 where the server has it; a query goes "
            "with every request.",
            examples=["https://api.mistral.ai/v1"],
        ),
    ]
    key_env: Annotated[
        Annotated[str, Meta(pattern=VARIABLE_PATTERN)] | None,
        Meta(
            description="Name of the environment variable which holds the key; keys never stand "
            "in this file. Unset: no key is sent.",
            examples=["MISTRAL_API_KEY"],
        ),
    ] = None
    models: Annotated[
        tuple[ModelEntry, ...],
        Meta(description="Those of its models that clients may use; without any, all it lists."),
    ] = ()
    connect_seconds: Annotated[
        Limit, Meta(description="How long opening a connection may take.")
    ] = 5.0
    first_token_seconds: FirstToken = SECONDS_TO_FIRST_TOKEN
    between_tokens_seconds: BetweenTokens = SECONDS_BETWEEN_TOKENS
    whole_answer_seconds: WholeAnswer = SECONDS_FOR_WHOLE_ANSWER
    verify_tls: Annotated[
        bool, Meta(description="Check the server's certificate. Leave it on beyond a test.")
    ] = True


class GgufEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GGUF file which the embedded llama.cpp serves."""

    name: Annotated[ModelName, Meta(description="What clients call it.", examples=["qwen3-4b"])]
    file: Annotated[
        Text,
        Meta(
            description="The GGUF file, relative to the folder of this file.",
            examples=["models/Qwen3-4B-Q4_K_M.gguf"],
        ),
    ]
    context_tokens: Annotated[
        Tokens | None,
        Meta(
            description="Longest prompt and answer together, for each request; unset: the model's "
            "own, but 8192 at most. More takes more memory.",
            examples=[8192],
        ),
    ] = None
    parallel: Annotated[Count, Meta(description="How many requests it answers at once.")] = 4
    threads: Annotated[
        Count | None,
        Meta(description="Processor threads; unset: as many as pay off.", examples=[8]),
    ] = None
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=0, le=10_000)] | None,
        Meta(description="Layers kept on the graphics card; unset: as many as fit.", examples=[99]),
    ] = None
    price: Annotated[
        Price | None,
        Meta(description="What it is charged at; unset: it is booked without a price."),
    ] = None


class LlamaCppUpstream(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="llama_cpp"
):
    """The embedded llama.cpp: GGUF files on this machine, in a process of their own."""

    name: Annotated[UpstreamName, Meta(description="What it is called here.", examples=["here"])]
    models: Annotated[tuple[GgufEntry, ...], Meta(description="The files it serves.", min_length=1)]
    first_token_seconds: FirstToken = SECONDS_TO_FIRST_TOKEN
    between_tokens_seconds: BetweenTokens = SECONDS_BETWEEN_TOKENS
    whole_answer_seconds: WholeAnswer = SECONDS_FOR_WHOLE_ANSWER


class ScriptedUpstream(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="scripted"
):
    """Answers every request with the same words, for trying clients without a model."""

    name: Annotated[UpstreamName, Meta(description="What it is called here.", examples=["parrot"])]
    model: Annotated[ModelName, Meta(description="What clients call its model.")] = "scripted"
    reply: Annotated[str, Meta(description="The words of every answer.")] = (
        "This is a scripted answer: no model was asked."
    )
    delay_ms: Annotated[
        Milliseconds, Meta(description="Wait before the answer begins, in milliseconds.")
    ] = 0
    chunk_ms: Annotated[
        Milliseconds, Meta(description="Wait between the words of a stream, in milliseconds.")
    ] = 0


UpstreamEntry: TypeAlias = HttpUpstream | LlamaCppUpstream | ScriptedUpstream
