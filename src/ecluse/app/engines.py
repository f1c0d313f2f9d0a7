"""The embedded engines: one process a model, shared by generations that name the same file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import aiohttp

from ecluse.adapters.telemetry.metrics import EngineFigures
from ecluse.adapters.upstreams.llama_cpp.engine import EngineSettings
from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.adapters.upstreams.llama_cpp.upstream import LlamaCppUpstream
from ecluse.ports import Upstream


class Engines:
    """Hands out an engine for its settings and stops those nobody names any more."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, EngineSettings, float], LlamaCppUpstream] = {}
        self._starting: set[asyncio.Task[None]] = set()

    def obtain(
        self, name: str, settings: EngineSettings, session: aiohttp.ClientSession, silence_s: float
    ) -> LlamaCppUpstream:
        """The engine of that name with those settings; a new one starts in the background.

        Raises ModelFileBroken.
        """
        key = (name, settings, silence_s)
        engine = self._engines.get(key)
        if engine is None:
            facts = read_facts(settings.file)
            engine = LlamaCppUpstream(name, settings, facts, session, silence_s)
            self._engines[key] = engine
            task = asyncio.create_task(engine.warm_up())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        return engine

    def figures(self) -> Iterator[EngineFigures]:
        """What each engine has used."""
        for (name, _, _), upstream in self._engines.items():
            engine = upstream.engine
            yield EngineFigures(name, engine.cpu_seconds(), engine.resident_bytes())

    async def keep_only(self, upstreams: Iterable[Upstream]) -> None:
        """Stop the engines that are not among these upstreams."""
        kept = {id(upstream) for upstream in upstreams}
        gone = [key for key, engine in self._engines.items() if id(engine) not in kept]
        await asyncio.gather(*(self._engines.pop(key).close() for key in gone))

    async def close(self) -> None:
        """Stop all."""
        await self.keep_only(())
