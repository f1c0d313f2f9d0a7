"""The keys of ``ecluse.toml``: types, limits, defaults and what each one means.

Everything is frozen and strict. Lists become tuples, so that a loaded configuration cannot change
under a request that began with it. The descriptions are the source of the documentation, of the
example file and of the error messages.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

UPSTREAM_NAME_PATTERN = r"^[A-Za-z0-9._-]+\Z"
MODEL_NAME_PATTERN = r"^[^\s\x00-\x1f\x7f]+\Z"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*\Z"
CURRENCY_PATTERN = r"^[A-Z]{3}\Z"
ROOT_PATH_PATTERN = r"^(/[^\s?#]*[^\s?#/])?\Z"

PATTERN_WORDS = {
    UPSTREAM_NAME_PATTERN: "a name made of letters, digits, '.', '_' and '-'",
    MODEL_NAME_PATTERN: "a name without spaces",
    VARIABLE_PATTERN: "the name of an environment variable (never the key itself)",
    CURRENCY_PATTERN: 'a currency code of three capitals such as "USD"',
    ROOT_PATH_PATTERN: "nothing, or a path which begins with '/' and does not end with one",
}

# A day at most: whoever writes more has most likely written milliseconds.
_DAY = 86_400.0

UpstreamName: TypeAlias = Annotated[str, Meta(pattern=UPSTREAM_NAME_PATTERN)]
ModelName: TypeAlias = Annotated[str, Meta(pattern=MODEL_NAME_PATTERN)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Pause: TypeAlias = Annotated[float, Meta(ge=0, le=_DAY)]
Limit: TypeAlias = Annotated[float, Meta(gt=0, le=_DAY)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=3_600_000)]
Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=100_000_000)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1024)]
LogProbability: TypeAlias = Annotated[float, Meta(ge=-1000, le=0)]

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


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Ecluse listens, and how long it waits for clients."""

    host: Annotated[
        Text,
        Meta(
            description="Address to listen on. 127.0.0.1 is this machine only; 0.0.0.0 is every "
            "network it is in, for which at least one key must be defined.",
            extra={"live": True},
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(
            description="Port to listen on; 0 takes any free one.",
            ge=0,
            le=65535,
            extra={"live": True},
        ),
    ] = 4242
    root_path: Annotated[
        str,
        Meta(
            description="Path under which a proxy publishes Ecluse.",
            pattern=ROOT_PATH_PATTERN,
            examples=["/ai"],
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[Text, ...],
        Meta(
            description="Addresses or networks whose X-Forwarded-* headers are believed.",
            examples=[["127.0.0.1", "10.0.0.0/8"]],
        ),
    ] = ()
    max_body_bytes: Annotated[
        int, Meta(description="Longest request body that is read; a longer one gets 413.", ge=1)
    ] = 20_000_000
    drain_seconds: Annotated[
        Pause,
        Meta(description="How long answers under way may take to end after a stop was asked for."),
    ] = 30.0
    hold_silently_seconds: Annotated[
        Pause,
        Meta(
            description="How long a held stream stays silent, while a failure can still be a true "
            "HTTP error, before 200 and comments go out."
        ),
    ] = 2.0
    stalled_client_seconds: Annotated[
        Limit, Meta(description="A client that reads nothing for so long is dropped.")
    ] = 60.0
    log: Annotated[
        Literal["json", "text"],
        Meta(description="Form of the log: JSON for machines, text for people."),
    ] = "json"


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where keys and the ledger of attempts are kept."""

    directory: Annotated[
        str,
        Meta(
            description="Folder of the data, relative to this file. Empty: $ECLUSE_HOME, else the "
            "platform's folder for data.",
            examples=["/var/lib/ecluse"],
        ),
    ] = ""


class Discovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Ecluse finds by itself."""

    local: Annotated[
        bool,
        Meta(description="Look for model servers on this machine.", extra={"live": True}),
    ] = True
    every_seconds: Annotated[
        float,
        Meta(description="How often upstreams are asked what they serve.", ge=1, le=_DAY),
    ] = 30.0
    paid: Annotated[
        tuple[UpstreamName, ...],
        Meta(
            description="Suppliers whose key is in the environment and which may be used. They "
            "spend money and see the prompts; a supplier that is not named here is only shown.",
            examples=[["openai", "mistral"]],
        ),
    ] = ()


class Demonstration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tiny models that come with Ecluse, for first steps."""

    enabled: Annotated[
        bool,
        Meta(
            description="Offer the demonstration models, under their own names and as the route "
            "demo. The route auto asks them only while there is nothing else.",
            extra={"live": True},
        ),
    ] = True


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
    """A model of an HTTP upstream. What is left unset is asked of the upstream."""

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
            description="Base address, up to and with /v1 where the server has it.",
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
        Meta(description="Its models. Without any, the upstream is asked what it serves."),
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


class StageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a route: a model, and the rule which accepts its answer."""

    model: Annotated[
        ModelName,
        Meta(description="Name of a model that some upstream serves.", examples=["qwen3-4b"]),
    ]
    accept_least_logprob: Annotated[
        LogProbability | None,
        Meta(
            description="The answer is good enough if its least certain token has at least this "
            "log-probability (natural logarithm); unset: any answer is. Every stage but the last "
            "needs it, since those after it would never be asked.",
            examples=[-2.5],
        ),
    ] = None
    commit_after_tokens: Annotated[
        Tokens | None,
        Meta(
            description="A stream is passed on once so many tokens were all that sure; unset: it "
            "is held until it is whole.",
            examples=[64],
        ),
    ] = None
    without_logprobs: Annotated[
        Literal["rise", "accept"],
        Meta(
            description="What becomes of an answer that shows no log-probabilities: rise, or "
            "accept it if it ended properly and has the form that was asked for."
        ),
    ] = "rise"


class RouteEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name which clients give as model, and the models tried for it in turn."""

    name: Annotated[
        ModelName,
        Meta(description="What clients name; no model may have it.", examples=["thrifty"]),
    ]
    stages: Annotated[
        tuple[StageEntry, ...],
        Meta(
            description="The models in the order they are asked, the least first.",
            min_length=1,
            extra={"further": [{"model": "mistral-small"}]},
        ),
    ]


class Endurance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done about deployments that fail or are slow."""

    retry_seconds: Annotated[
        Pause,
        Meta(
            description="How long after its arrival a request is tried again when every "
            "deployment has failed it; 0: each is asked once."
        ),
    ] = 1.5
    hedge_after_seconds: Annotated[
        Limit | None,
        Meta(
            description="Ask a second deployment of the same model when the first has said "
            "nothing for so long; unset: never. It costs what it uses.",
            examples=[5.0],
        ),
    ] = None
    hedge_share: Annotated[
        float,
        Meta(
            description="The largest share of requests that a second one is sent for.", ge=0, le=1
        ),
    ] = 0.05


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Every table may be left out."""

    server: Annotated[Server, Meta(description="Where Ecluse listens.")] = Server()
    storage: Annotated[Storage, Meta(description="Where data is kept.")] = Storage()
    discovery: Annotated[Discovery, Meta(description="What is found by itself.")] = Discovery()
    demonstration: Annotated[Demonstration, Meta(description="The models for first steps.")] = (
        Demonstration()
    )
    endurance: Annotated[Endurance, Meta(description="What is done about failures.")] = Endurance()
    upstreams: Annotated[tuple[UpstreamEntry, ...], Meta(description="Who answers.")] = ()
    routes: Annotated[
        tuple[RouteEntry, ...], Meta(description="Names that stand for several models.")
    ] = ()
