"""The embedded engine as an upstream like any other."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
import msgspec

from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.adapters.upstreams.llama_cpp.engine import Address, Engine, EngineSettings
from ecluse.adapters.upstreams.llama_cpp.gguf import GgufFacts
from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.errors import UpstreamError
from ecluse.domain.values.answer import Events
from ecluse.domain.values.request import Call

logger = logging.getLogger(__name__)


class LlamaCppUpstream:
    """A model in a child process; the child is spoken to over HTTP on loopback."""

    def __init__(
        self,
        name: str,
        settings: EngineSettings,
        facts: GgufFacts,
        session: aiohttp.ClientSession,
        silence_s: float,
    ) -> None:
        self._name = name
        self._session = session
        self._silence_s = silence_s
        if facts.context_tokens is not None:
            # The engine gives no request more than the model was made for, whatever is asked.
            context_tokens = min(settings.context_tokens, facts.context_tokens)
            settings = msgspec.structs.replace(settings, context_tokens=context_tokens)
        self._offer = Offer(
            settings.alias,
            context_tokens=settings.context_tokens,
            longest_token_bytes=facts.longest_token_bytes,
            accepts_images=False,
            gives_logprobs=True,
            parameters=facts.parameters,
            continuation="prefill",
            logprobs_in_tool_streams=False,
        )
        self.engine = Engine(settings)
        self._spoken_to: tuple[Address, HttpUpstream] | None = None

    async def warm_up(self) -> None:
        """Start the child ahead of the first request; trouble is logged and told to requests."""
        try:
            await self.engine.address()
        except UpstreamError as error:
            logger.debug("%s: %s", self._name, error)

    async def offers(self) -> Sequence[Offer]:
        """See Upstream.offers; the file's facts, whether the child runs or not."""
        return (self._offer,)

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """See Upstream.attempt."""
        child = await self._child()
        async with aclosing(child.attempt(call)) as stream:
            async for events in stream:
                yield events

    async def count_tokens(self, model: str, text: str) -> int | None:
        """See Upstream.count_tokens: the text's own tokens, without the chat template's."""
        try:
            child = await self._child()
        except UpstreamError:
            return None
        return await child.count_tokens(model, text)

    async def close(self) -> None:
        """See Upstream.close."""
        await self.engine.stop()

    async def _child(self) -> HttpUpstream:
        address = await self.engine.address()
        if self._spoken_to is None or self._spoken_to[0] != address:
            child = HttpUpstream(
                self._name,
                f"{address.url}/v1",
                self._session,
                key=address.key,
                offers=(self._offer,),
                silence_s=self._silence_s,
            )
            self._spoken_to = (address, child)
        return self._spoken_to[1]
