"""The keys of ``ecluse.toml``: types, limits, defaults and what each one means.

Everything is frozen and strict. Lists become tuples, so that a loaded configuration cannot change
under a request that began with it. The descriptions are the source of the documentation, of the
example file and of the error messages. ``extra`` marks what the example file sets (``live``) and
what a reload cannot change (``restart``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ecluse.config.upstreams import (
    GgufEntry,
    HttpUpstream,
    LlamaCppUpstream,
    ModelEntry,
    Price,
    ScriptedUpstream,
    UpstreamEntry,
)
from ecluse.config.values import (
    DAY_S,
    PATTERN_WORDS,
    ROOT_PATH_PATTERN,
    Limit,
    LogProbability,
    ModelName,
    Pause,
    Text,
    Tokens,
    UpstreamName,
)

__all__ = [
    "PATTERN_WORDS",
    "Configuration",
    "Demonstration",
    "Discovery",
    "Endurance",
    "GgufEntry",
    "HttpUpstream",
    "LlamaCppUpstream",
    "ModelEntry",
    "Price",
    "RouteEntry",
    "ScriptedUpstream",
    "Server",
    "StageEntry",
    "Storage",
    "UpstreamEntry",
]


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Ecluse listens, and how long it waits for clients."""

    host: Annotated[
        Text,
        Meta(
            description="Address to listen on. 127.0.0.1 is this machine only; 0.0.0.0 is every "
            "network it is in, for which at least one key must be defined.",
            extra={"live": True, "restart": True},
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(
            description="Port to listen on; 0 takes any free one.",
            ge=0,
            le=65535,
            extra={"live": True, "restart": True},
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
            extra={"restart": True},
        ),
    ] = ()
    max_body_bytes: Annotated[
        int, Meta(description="Longest request body that is read; a longer one gets 413.", ge=1)
    ] = 20_000_000
    drain_seconds: Annotated[
        Pause,
        Meta(
            description="How long answers under way may take to end after a stop was asked for.",
            extra={"restart": True},
        ),
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
        Meta(
            description="Form of the log: JSON for machines, text for people.",
            extra={"restart": True},
        ),
    ] = "json"


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where keys and the ledger of attempts are kept."""

    directory: Annotated[
        str,
        Meta(
            description="Folder of the data, relative to this file. Empty: $ECLUSE_HOME, else the "
            "platform's folder for data.",
            examples=["/var/lib/ecluse"],
            extra={"restart": True},
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
        Meta(description="How often upstreams are asked what they serve.", ge=1, le=DAY_S),
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
