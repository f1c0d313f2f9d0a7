"""All checks at once, in the order in which people read them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from ecluse.adapters.discovery.local import USUAL_PORTS, Kind
from ecluse.adapters.system_clock import SystemClock
from ecluse.app.addresses import is_loopback
from ecluse.config import schema
from ecluse.config.load import Loaded
from ecluse.diagnosis import models, network, program, settings
from ecluse.diagnosis.finding import Finding, Level, listed
from ecluse.diagnosis.storage import storage
from ecluse.domain.catalog.suppliers import SUPPLIERS

US_PER_S = 1_000_000
LEAST_SECRET_CHARACTERS = 6
"""A shorter key is a stand-in for none, and is part of too many words to be struck out."""


async def examine(
    explicit: Path | None,
    environment: Mapping[str, str],
    cwd: Path,
    ports: Mapping[Kind, int] = USUAL_PORTS,
) -> list[Finding]:
    """Look at everything. A key that an upstream repeats to us is struck out of what it said.

    ``explicit`` is a configuration file that was asked for; ``ports`` are where local servers
    are looked for.
    """
    finding, loaded = settings.configuration(explicit, environment, cwd)
    configuration = schema.Configuration() if loaded is None else loaded.configuration
    async with aiohttp.ClientSession() as session:
        loop, engine, local, asked, port = await asyncio.gather(
            program.event_loop(),
            program.embedded_engine(),
            network.local_servers(session, configuration, ports),
            network.upstreams(session, configuration, environment),
            _port(session, loaded),
        )
    works = engine.level is Level.FINE
    secrets = _secrets(configuration, environment)
    served = [
        *local,
        *(finding.without(secrets) for finding in asked),
        *_own_models(loaded, configuration, works),
    ]
    return [
        program.versions(),
        program.machine(),
        loop,
        engine,
        finding,
        *_storage(loaded, environment),
        *port,
        *served,
        *network.paid_keys(configuration, environment),
        *_answers(configuration, served),
    ]


async def _port(session: aiohttp.ClientSession, loaded: Loaded | None) -> Sequence[Finding]:
    if loaded is None:
        return ()
    server = loaded.configuration.server
    return (await network.port(session, server.host, server.port),)


def _storage(loaded: Loaded | None, environment: Mapping[str, str]) -> Iterator[Finding]:
    if loaded is not None:
        folder = loaded.storage_folder(environment, sys.platform, Path.home())
        now_s = SystemClock().unix_us() // US_PER_S
        open_to_others = not is_loopback(loaded.configuration.server.host)
        yield from storage(folder, now_s, open_to_others=open_to_others)


def _own_models(
    loaded: Loaded | None, configuration: schema.Configuration, engine_works: bool
) -> Iterator[Finding]:
    """GGUF files, scripted answers and the demonstration."""
    if loaded is not None:
        yield from models.files(loaded, engine_works=engine_works)
    for entry in configuration.upstreams:
        if isinstance(entry, schema.ScriptedUpstream):
            yield Finding(
                Level.FINE,
                f"Upstream {entry.name}",
                "answers every request with the same words",
                models=(entry.model,),
            )
    yield models.demonstration(configuration, engine_works=engine_works)


def _answers(configuration: schema.Configuration, served: Sequence[Finding]) -> Iterator[Finding]:
    """The sum: routes that lack somebody, and whether anything can be answered."""
    names = list(dict.fromkeys(model for finding in served for model in finding.models))
    yield from settings.routes(configuration, names)
    title = "Answers"
    real = [m for f in served if f.title != models.DEMONSTRATION for m in f.models]
    if real:
        yield Finding(Level.FINE, title, f"can come from {listed(dict.fromkeys(real))}")
    elif names:
        yield Finding(
            Level.WARNING,
            title,
            "come from the demonstration only, which adds and sorts",
            "Start Ollama, LM Studio, llama.cpp or vLLM, or name a GGUF file in ecluse.toml.",
        )
    else:
        yield Finding(
            Level.BROKEN,
            title,
            "there is nothing that could answer",
            "Start Ollama, LM Studio, llama.cpp or vLLM, or name a GGUF file in ecluse.toml.",
        )


def _secrets(configuration: schema.Configuration, environment: Mapping[str, str]) -> set[str]:
    variables = {supplier.key_variable for supplier in SUPPLIERS}
    for entry in configuration.upstreams:
        if isinstance(entry, schema.HttpUpstream) and entry.key_env:
            variables.add(entry.key_env)
    found = {environment[name].strip() for name in variables if name in environment}
    return {secret for secret in found if len(secret) >= LEAST_SECRET_CHARACTERS}
