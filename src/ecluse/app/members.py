"""Builds the fleet's members from a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import aiohttp

from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.adapters.upstreams.llama_cpp.engine import EngineSettings
from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.adapters.upstreams.scripted import Script, ScriptedUpstream
from ecluse.app.engines import Engines
from ecluse.config import schema
from ecluse.config.load import Loaded
from ecluse.config.prices import terms_of
from ecluse.demonstration import ladder
from ecluse.domain.catalog.deployments import Offer, Patience
from ecluse.domain.errors import ConfigurationError
from ecluse.runtime.members import Member, Named

MS_PER_S = 1_000
SILENCE_S = 600.0
Timed: TypeAlias = schema.HttpUpstream | schema.LlamaCppUpstream
DEMONSTRATION = "demonstration"
CONTEXT_TOKENS_UNLESS_ASKED = 8_192
"""A model's own context can be a hundred times what fits into the memory of a small computer."""


class MemberBuilder:
    """Makes members; the engines of embedded models are shared between generations."""

    def __init__(
        self, session: aiohttp.ClientSession, engines: Engines, environment: Mapping[str, str]
    ) -> None:
        self._session = session
        self._engines = engines
        self._environment = environment

    def configured(self, loaded: Loaded) -> Iterator[Member]:
        """The members a configuration names. Raises StartError."""
        for entry in loaded.configuration.upstreams:
            match entry:
                case schema.HttpUpstream():
                    yield self._http(entry)
                case schema.LlamaCppUpstream():
                    yield from self._embedded(entry, loaded)
                case schema.ScriptedUpstream():
                    yield _scripted(entry)

    def demonstration(self) -> Iterator[Member]:
        """The demonstration's models, each on one thread: they are too small for more."""
        for rung in ladder.models():
            settings = EngineSettings(
                rung.path,
                rung.name,
                rung.context_tokens,
                threads=1,
                temperature=0.0,
                flash_attention=rung.flash_attention,
            )
            name = f"{DEMONSTRATION}/{rung.name}"
            engine = self._engines.obtain(name, settings, self._session, SILENCE_S)
            yield Member(name, engine, place=DEMONSTRATION, demonstration=True)

    def _http(self, entry: schema.HttpUpstream) -> Member:
        key = _key(entry, self._environment)
        upstream = HttpUpstream(
            entry.name,
            entry.url,
            self._session,
            key=key,
            connect_s=entry.connect_seconds,
            silence_s=_longest_silence_s(entry),
            verify_tls=entry.verify_tls,
            has_tokenizer=key is None,
        )
        return Member(
            entry.name,
            upstream,
            models=tuple(map(_named, entry.models)),
            origin=(entry.url, entry.key_env, entry.verify_tls),
            patience=_patience(entry),
        )

    def _embedded(self, entry: schema.LlamaCppUpstream, loaded: Loaded) -> Iterator[Member]:
        for model in entry.models:
            file = loaded.resolve(model.file)
            own = read_facts(file).context_tokens or CONTEXT_TOKENS_UNLESS_ASKED
            settings = EngineSettings(
                file,
                model.name,
                model.context_tokens or min(own, CONTEXT_TOKENS_UNLESS_ASKED),
                model.parallel,
                model.threads,
                model.gpu_layers,
            )
            terms = None if model.price is None else terms_of(model.price)
            name = f"{entry.name}/{model.name}"
            silence_s = _longest_silence_s(entry)
            engine = self._engines.obtain(name, settings, self._session, silence_s)
            named = Named(model.name, Offer(model.name), terms)
            yield Member(name, engine, place=entry.name, models=(named,), patience=_patience(entry))


def _scripted(entry: schema.ScriptedUpstream) -> Member:
    script = Script(entry.reply, entry.delay_ms / MS_PER_S, entry.chunk_ms / MS_PER_S)
    return Member(entry.name, ScriptedUpstream(entry.model, script))


def _patience(entry: Timed) -> Patience:
    return Patience(
        entry.first_token_seconds, entry.between_tokens_seconds, entry.whole_answer_seconds
    )


def _longest_silence_s(entry: Timed) -> float:
    """The connection's own limit is the longest of all: which one holds depends on the request."""
    return max(entry.first_token_seconds, entry.between_tokens_seconds, entry.whole_answer_seconds)


def _key(entry: schema.HttpUpstream, environment: Mapping[str, str]) -> str | None:
    if entry.key_env is None:
        return None
    key = environment.get(entry.key_env, "").strip()
    if not key:
        raise ConfigurationError(
            f"The upstream {entry.name} needs the environment variable {entry.key_env}, "
            "which is not set.",
            next_step="Set it before the start, or take the upstream out.",
        )
    return key


def _named(model: schema.ModelEntry) -> Named:
    facts = Offer(
        model.upstream_name or model.name,
        context_tokens=model.context_tokens,
        accepts_images=model.accepts_images,
        gives_logprobs=model.gives_logprobs,
        continuation=model.can_continue,
    )
    return Named(model.name, facts, None if model.price is None else terms_of(model.price))
