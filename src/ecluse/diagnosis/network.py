"""The port, local model servers, configured upstreams and paid suppliers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import aiohttp
from yarl import URL

from ecluse.adapters.discovery.local import OURSELVES, USUAL_PORTS, Found, Kind, find_local
from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.app.server import bound_socket
from ecluse.config import schema
from ecluse.diagnosis.finding import Finding, Level, listed
from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.catalog.suppliers import SUPPLIERS, Supplier, keys_found
from ecluse.domain.errors import PortTaken, StartError, UpstreamError, UpstreamRefused

PATIENCE_S = 2.5
HEALTH_PATIENCE_S = 1.0
KINDS: Mapping[Kind, str] = {
    "ollama": "Ollama",
    "lm_studio": "LM Studio",
    "llama_cpp": "llama.cpp",
    "vllm": "vLLM",
}
LOCAL = "Local servers"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - they are asked for, not bound


async def port(session: aiohttp.ClientSession, host: str, number: int) -> Finding:
    """Whether the gateway's port is free, serves an Ecluse already, or is another program's."""
    title = "Port"
    if number == 0:
        return Finding(Level.FINE, title, f"any free one on {host}")
    try:
        bound_socket(host, number).close()
    except PortTaken as error:
        if await _is_ecluse(session, ANYWHERE.get(host, host), number):
            return Finding(Level.FINE, title, f"{number} on {host}: an Ecluse is serving there")
        return Finding.of(error, title)
    except StartError as error:
        return Finding.of(error, title)
    return Finding(Level.FINE, title, f"{number} on {host} is free")


async def _is_ecluse(session: aiohttp.ClientSession, host: str, number: int) -> bool:
    url = URL.build(scheme="http", host=host, port=number, path="/healthz")
    timeout = aiohttp.ClientTimeout(total=HEALTH_PATIENCE_S)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            return response.headers.get("server") == OURSELVES
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False


async def local_servers(
    session: aiohttp.ClientSession,
    configuration: schema.Configuration,
    ports: Mapping[Kind, int] = USUAL_PORTS,
) -> Sequence[Finding]:
    """The model servers on this machine, with what they serve."""
    if not configuration.discovery.local:
        return [Finding(Level.FINE, LOCAL, "not looked for ([discovery] local = false)")]
    found = [one async for one in find_local(session, ports, PATIENCE_S)]
    if found:
        return [_server(one) for one in sorted(found, key=lambda one: one.kind)]
    asked = ", ".join(f"{KINDS[kind]} {number}" for kind, number in ports.items())
    detail = f"none answers ({asked})"
    if configuration.upstreams:
        return [Finding(Level.FINE, LOCAL, detail)]
    return [
        Finding(
            Level.WARNING,
            LOCAL,
            detail,
            "Start one, or name an upstream or a GGUF file in ecluse.toml "
            "(ecluse config example > ecluse.toml).",
        )
    ]


def _server(found: Found) -> Finding:
    title = KINDS[found.kind]
    models = tuple(offer.upstream_model for offer in found.offers)
    if not models:
        return Finding(Level.WARNING, title, f"{found.url}: it has no model", "Load a model there.")
    return Finding(
        Level.FINE, title, f"{found.url}: {listed(map(_described, found.offers))}", models=models
    )


def _described(offer: Offer) -> str:
    if offer.context_tokens is None:
        return offer.upstream_model
    return f"{offer.upstream_model} (context {offer.context_tokens})"


async def upstreams(
    session: aiohttp.ClientSession,
    configuration: schema.Configuration,
    environment: Mapping[str, str],
) -> Sequence[Finding]:
    """Each configured HTTP upstream and each paid supplier that is enabled, asked at once."""
    entries = [e for e in configuration.upstreams if isinstance(e, schema.HttpUpstream)]
    enabled = [
        schema.HttpUpstream(key.supplier.name, key.supplier.url, key.supplier.key_variable)
        for key in keys_found(environment, configuration.discovery.paid)
        if key.enabled
    ]
    asked = (_upstream(session, entry, environment) for entry in (*entries, *enabled))
    return await asyncio.gather(*asked)


async def _upstream(
    session: aiohttp.ClientSession, entry: schema.HttpUpstream, environment: Mapping[str, str]
) -> Finding:
    title = f"Upstream {entry.name}"
    key = environment.get(entry.key_env, "").strip() if entry.key_env else None
    if key == "":
        return Finding(
            Level.BROKEN,
            title,
            f"the environment variable {_shown_variable(entry)} with its key is not set",
            "Set it before the start, or take the upstream out.",
        )
    client = HttpUpstream(
        entry.name, entry.url, session, key=key, verify_tls=entry.verify_tls, has_tokenizer=False
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            served = [offer.upstream_model for offer in await client.offers()]
    except TimeoutError:
        return Finding(
            Level.WARNING,
            title,
            f"{_place(entry)} says nothing within {PATIENCE_S} s",
            "Is it overloaded, or is the address another program's?",
        )
    except UpstreamError as error:
        return _silent(entry, error)
    return _answering(entry, served)


def _silent(entry: schema.HttpUpstream, error: UpstreamError) -> Finding:
    """What an upstream's refusal or silence means."""
    title = f"Upstream {entry.name}"
    if isinstance(error, UpstreamRefused):
        names = tuple(model.name for model in entry.models)
        if error.upstream_status in (404, 405) and names:
            detail = f"{_place(entry)} answers, and does not list its models"
            return Finding(Level.FINE, title, f"{detail}: {listed(names)}", models=names)
        if error.upstream_status in (401, 403):
            what = f"the key in {_shown_variable(entry)}" if entry.key_env else "us: we have no key"
            return Finding(
                Level.WARNING,
                title,
                f"{_place(entry)} refuses {what}",
                "Set key_env to the variable which holds a valid key.",
            )
    return Finding(
        Level.WARNING,
        title,
        f"{_place(entry)}: {error.message}",
        "Check its url, and whether it runs.",
    )


def _answering(entry: schema.HttpUpstream, served: Sequence[str]) -> Finding:
    title = f"Upstream {entry.name}"
    if not entry.models:
        if not served:
            return Finding(
                Level.WARNING, title, f"{_place(entry)} has no model", "Load a model there."
            )
        detail = f"{_place(entry)} serves {listed(served)}"
        return Finding(Level.FINE, title, detail, models=tuple(served))
    names = tuple(model.name for model in entry.models)
    absent = [
        own for model in entry.models if (own := model.upstream_name or model.name) not in served
    ]
    if absent:
        return Finding(
            Level.WARNING,
            title,
            f"{_place(entry)} answers, and does not list {listed(absent)}",
            f"It lists {listed(served) or 'nothing'}: check upstream_name.",
            models=tuple(
                model.name
                for model in entry.models
                if (model.upstream_name or model.name) in served
            ),
        )
    return Finding(Level.FINE, title, f"{_place(entry)} serves {listed(names)}", models=names)


def paid_keys(
    configuration: schema.Configuration, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Paid suppliers whose key is in the environment, by name only, and those without one."""
    wanted = configuration.discovery.paid
    found = keys_found(environment, wanted)
    for key in found:
        if not key.enabled:
            yield _unused(key.supplier)
    known = {supplier.name: supplier for supplier in SUPPLIERS}
    present = {key.supplier.name for key in found}
    for name in wanted:
        if name not in known:
            detail = "is enabled in [discovery] paid, and no supplier of that name is known"
            yield Finding(
                Level.WARNING, f"Supplier {name}", detail, f"Known are {listed(known, 20)}."
            )
        elif name not in present:
            detail = f"is enabled in [discovery] paid, and {known[name].key_variable} is not set"
            yield Finding(Level.WARNING, f"Supplier {name}", detail, "Set it before the start.")


def _unused(supplier: Supplier) -> Finding:
    return Finding(
        Level.FINE,
        f"Supplier {supplier.name}",
        f"{supplier.key_variable} found, not used: it spends money and shows prompts to others",
        f'Only if you want that, enable it: [discovery] paid = ["{supplier.name}"]',
    )


def _place(entry: schema.HttpUpstream) -> str:
    """The address without what may be a secret in it."""
    return str(URL(entry.url).with_query(None).with_user(None))


def _shown_variable(entry: schema.HttpUpstream) -> str:
    """A variable's name; one in small letters may be a key that somebody wrote there instead."""
    name = entry.key_env or ""
    return name if name.isupper() else "which key_env names"
