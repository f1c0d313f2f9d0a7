"""A gateway with everything around it, on scripted upstreams and in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ecluse.adapters.schemas import fits
from ecluse.adapters.store.memory import MemoryLedger
from ecluse.adapters.system_clock import SystemClock
from ecluse.adapters.upstreams.scripted import Script, ScriptedUpstream
from ecluse.api.chat_request import read_chat_request
from ecluse.domain.catalog.deployments import (
    Acceptance,
    Continuation,
    Deployment,
    Fleet,
    Offer,
    Patience,
    Route,
    Stage,
)
from ecluse.domain.errors import (
    StoreFailed,
    UpstreamRefused,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.account import Account
from ecluse.domain.values.answer import Outcome, Progress
from ecluse.domain.values.identifiers import KeyId, RequestId
from ecluse.domain.values.money import PriceTerms
from ecluse.domain.values.request import ChatRequest
from ecluse.gateway import Gateway
from ecluse.ports import Clock
from ecluse.runtime.attempts import Attempts
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.endurance import Endurance, EnduranceSettings
from ecluse.runtime.ledger_writer import LedgerWriter
from ecluse.runtime.settlement import Settlement

ACCOUNT = Account(KeyId("key"), "somebody")
TERMS = PriceTerms("EUR", prompt_nano=1_000_000, completion_nano=10_000_000, cached_nano=0)
JUDGED = Acceptance(least_logprob=-0.5)
PROMPT = "three little words"
SURE, UNSURE = -0.1, -0.9
AGES_S = 30.0
"""A test that waits this long has failed."""
AWAY = UpstreamUnreachable("It is away.")
BROKE_OFF = UpstreamTruncated("It broke off.")
BAD_REQUEST = UpstreamRefused("No.", upstream_status=400, code="bad")
BAD_KEY = UpstreamRefused("No.", upstream_status=401)


ONCE = EnduranceSettings(retry_s=0)
PATIENT = Patience()


class Ticking:
    """A clock on which a millisecond passes whenever it is asked how long something took."""

    def __init__(self) -> None:
        self._ticks = 0

    def unix_us(self) -> int:
        """The same moment, always."""
        return 1_700_000_000_000_000

    def monotonic_ns(self) -> int:
        """A millisecond later than the last time."""
        self._ticks += 1
        return self._ticks * 1_000_000

    def random_bytes(self, count: int) -> bytes:
        """Never the same twice."""
        self._ticks += 1
        return self._ticks.to_bytes(count, "big")


class TroubledLedger(MemoryLedger):
    """A ledger that fails as long as it is told to."""

    failing = False

    async def append(self, records: Sequence[AttemptRecord]) -> None:
        """Write or fail."""
        if self.failing:
            raise StoreFailed("The disk is full.")
        await super().append(records)


class House:
    """A gateway with everything around it: route ``auto`` rises through the stages given.

    A stage is the upstreams that serve its model; models are named ``model0``, ``model1``, …
    """

    def __init__(
        self,
        *stages: Sequence[ScriptedUpstream],
        acceptance: Acceptance = JUDGED,
        full: int = 100,
        endurance: EnduranceSettings = ONCE,
        patience: Patience = PATIENT,
        offer: Mapping[str, Any] = {},
        real_time: bool = False,
    ) -> None:
        upstreams: dict[str, ScriptedUpstream] = {}
        deployments: dict[str, tuple[Deployment, ...]] = {}
        for position, servers in enumerate(stages):
            model = f"model{position}"
            places = {f"place{position}{chr(97 + n)}": server for n, server in enumerate(servers)}
            upstreams |= places
            deployments[model] = tuple(
                Deployment(
                    f"{name}/{model}",
                    model,
                    name,
                    name,
                    Offer("theirs", continuation=_continuation(server), **offer),
                    TERMS,
                    patience=patience,
                )
                for name, server in places.items()
            )
        self.deployments = [each for places in deployments.values() for each in places]
        route = Route("auto", tuple(Stage(model, acceptance) for model in deployments))
        fleet = Fleet(deployments, {"auto": route})
        self.ledger = TroubledLedger()
        self.writer = LedgerWriter(self.ledger, every_s=0.001, retry_s=0.001, waiting_at_most=full)
        self.settlement = Settlement(self.writer, lambda _: None)
        self.clock: Clock = SystemClock() if real_time else Ticking()
        self.breakers = Breakers(self.clock)
        attempts = Attempts(upstreams.__getitem__, self.settlement, self.clock, self.breakers)
        enduring = Endurance(endurance, self.breakers, self.clock)
        self.gateway = Gateway(lambda: fleet, attempts, enduring, self.writer, fits, self.clock)

    def answer(
        self, request: ChatRequest, request_id: str = "request"
    ) -> AsyncGenerator[Progress, None]:
        """Ask."""
        return self.gateway.answer(RequestId(request_id), request, ACCOUNT)

    async def ask(self, request: ChatRequest) -> list[Progress]:
        """Ask, and read to the end, which must come soon."""
        told: list[Progress] = []
        await self.ask_into(told, request)
        return told

    async def ask_into(self, told: list[Progress], request: ChatRequest) -> None:
        """Ask, and keep what was told should it end badly."""
        async with asyncio.timeout(10), aclosing(self.answer(request)) as answer:
            async for progress in answer:
                told.append(progress)  # noqa: PERF401 (what came before an error counts)

    async def records(self) -> list[AttemptRecord]:
        """Close as the application does, and show what was settled, in its order."""
        self.writer.start()
        await self.settlement.close()
        await self.writer.close()
        return list(self.ledger.records.values())


def _continuation(server: ScriptedUpstream) -> Continuation | None:
    return "prefill" if server.continues else None


def asked(
    *,
    stream: bool = True,
    route: str = "auto",
    answer_by_us: int | None = None,
    **more: object,
) -> ChatRequest:
    """A request as it comes in."""
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": route, "messages": messages, "stream": stream} | more
    return read_chat_request(json.dumps(body).encode(), answer_by_us)


def server(reply: str = "a fine answer", **script: object) -> ScriptedUpstream:
    """An upstream that answers so."""
    return ScriptedUpstream("theirs", Script(reply, **script))  # type: ignore[arg-type]


def text_of(told: Sequence[Progress]) -> str:
    """The text that reached the client."""
    return "".join(p.text for each in told for event in each.events for p in event.choices)


def outcomes(records: Sequence[AttemptRecord]) -> list[tuple[str, Outcome]]:
    """Who was asked, and what became of it."""
    return [(record.deployment, record.outcome) for record in records]
