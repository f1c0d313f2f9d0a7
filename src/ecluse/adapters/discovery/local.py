"""Asks the usual ports of this machine who is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Literal

import aiohttp
import msgspec

from ecluse.adapters.discovery import answers
from ecluse.adapters.http_body import read_up_to
from ecluse.domain.catalog.deployments import Offer

Kind = Literal["ollama", "lm_studio", "llama_cpp", "vllm"]

USUAL_PORTS: Mapping[Kind, int] = {
    "ollama": 11434,
    "lm_studio": 1234,
    "llama_cpp": 8080,
    "vllm": 8000,
}
CONNECT_S = 0.3
ANSWER_S = 1.5
PATIENCE_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
OURSELVES = "ecluse"
MODELS_ASKED_AT_MOST = 200


class Found(msgspec.Struct, frozen=True):
    """A server that was found. ``url`` is its OpenAI base URL."""

    kind: Kind
    url: str
    offers: tuple[Offer, ...]


async def find_local(
    session: aiohttp.ClientSession,
    ports: Mapping[Kind, int] = USUAL_PORTS,
    patience_s: float = PATIENCE_S,
) -> AsyncGenerator[Found, None]:
    """Who answers at the usual ports, each as soon as its answers show what it is.

    No port takes longer than ``patience_s``, whatever is there.
    """
    ends_s = asyncio.get_running_loop().time() + patience_s
    places = (_Place(session, port, ends_s) for port in set(ports.values()))
    looking = [asyncio.create_task(_at(place)) for place in places]
    try:
        for look in asyncio.as_completed(looking):
            if (found := await look) is not None:
                yield found
    finally:
        for look in looking:
            look.cancel()


class _Place:
    """A port of this machine; whatever goes wrong there reads as an empty answer."""

    def __init__(self, session: aiohttp.ClientSession, port: int, ends_s: float) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self._session = session
        self._ends_s = ends_s
        self.is_ourselves = False

    async def get(self, path: str) -> bytes:
        return await self._ask("GET", path, None)

    async def post(self, path: str, value: object) -> bytes:
        return await self._ask("POST", path, value)

    async def _ask(self, method: str, path: str, value: object) -> bytes:
        left_s = self._ends_s - asyncio.get_running_loop().time()
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S)
        try:
            async with (
                asyncio.timeout(min(ANSWER_S, left_s)),
                self._session.request(
                    method, self.root + path, json=value, timeout=timeout, allow_redirects=False
                ) as response,
            ):
                self.is_ourselves = response.headers.get("server") == OURSELVES
                if response.status != 200:
                    return b""
                body = await read_up_to(response, MAX_ANSWER_BYTES)
                return body if len(body) <= MAX_ANSWER_BYTES else b""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return b""


async def _at(place: _Place) -> Found | None:
    """Tell the kinds apart by what only each of them answers."""
    models = await place.get("/v1/models")
    if not models or place.is_ourselves:
        return None
    version, lm_studio, props = await asyncio.gather(
        place.get("/api/version"), place.get("/api/v0/models"), place.get("/props")
    )
    url = f"{place.root}/v1"
    if "version" in answers.json_object(version):
        return Found("ollama", url, await _ollama_offers(place))
    if offers := answers.lm_studio_offers(lm_studio):
        return Found("lm_studio", url, offers)
    if "default_generation_settings" in answers.json_object(props):
        return Found("llama_cpp", url, answers.llama_cpp_offers(models, props))
    if answers.is_vllm(models):
        return Found("vllm", url, answers.vllm_offers(models))
    return None


async def _ollama_offers(place: _Place) -> tuple[Offer, ...]:
    tags, running = await asyncio.gather(place.get("/api/tags"), place.get("/api/ps"))
    names = answers.ollama_models(tags)[:MODELS_ASKED_AT_MOST]
    shown = await asyncio.gather(*(place.post("/api/show", {"model": name}) for name in names))
    offers = map(answers.ollama_offer, names, shown, [running] * len(names))
    return tuple(offer for offer in offers if offer is not None)
