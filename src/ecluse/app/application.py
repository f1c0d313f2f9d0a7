"""What lives as long as the process, and the swap from one generation to the next."""

from __future__ import annotations

import asyncio
import os
from itertools import chain

from ecluse.adapters import schemas
from ecluse.adapters.store.store import Store
from ecluse.adapters.system_clock import SystemClock
from ecluse.adapters.telemetry.metrics import Metrics
from ecluse.adapters.telemetry.request_log import RequestLog
from ecluse.adapters.upstreams.session import open_session
from ecluse.api.dispatch import Dispatcher
from ecluse.api.serving import Limits, Serving
from ecluse.app.addresses import is_loopback
from ecluse.app.discovering import Discovering
from ecluse.app.engines import Engines
from ecluse.app.fleet import build_fleet
from ecluse.app.generation import Generation
from ecluse.app.members import MemberBuilder
from ecluse.config import schema
from ecluse.config.load import Loaded
from ecluse.config.schema import Server
from ecluse.domain.catalog.deployments import Fleet
from ecluse.domain.errors import StartError
from ecluse.domain.values.request_note import RequestNote
from ecluse.gateway import Gateway
from ecluse.runtime.accounts import Accounts
from ecluse.runtime.attempts import Attempts
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.endurance import Endurance, EnduranceSettings
from ecluse.runtime.ledger_writer import LedgerWriter
from ecluse.runtime.settlement import Settlement

FIRST_LOOK_S = 0.8
"""How long a start waits for upstreams to say what they serve; the rest is learned later."""

LAST_REQUESTS_S = 5.0
"""How long a stop waits for requests that were broken off."""

OBSERVED = "/v1/"
"""What is logged and counted: probes of health and metrics are not."""


class Application:
    """Holds the store, the keys, the ledger's writer, the engines and the present generation.

    ``host`` is the address that is listened on, whatever a later configuration says.
    """

    def __init__(self, store: Store, request_log: RequestLog, host: str) -> None:
        self._store = store
        self._request_log = request_log
        self._host = host
        self._clock = SystemClock()
        self._engines = Engines()
        self._writer = LedgerWriter(store.ledger)
        self._metrics = Metrics(
            self._engines.figures,
            lambda: self._writer.waiting,
            lambda: self._breakers.open_now(),
        )
        self._settlement = Settlement(self._writer, self._metrics.observe_attempt)
        self._accounts = Accounts(store.keys)
        self._breakers = Breakers(self._clock)
        self._in_use: list[Generation] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self.dispatcher = Dispatcher(self, self._clock)

    async def start(self, loaded: Loaded) -> None:
        """Read the keys, build the first generation and have a first look at its fleet.

        Raises StartError.
        """
        self._session = open_session()
        await self._accounts.refresh()
        self._polling = asyncio.create_task(self._accounts.run(), name="accounts")
        self._writer.start()
        self._present = self._generation(loaded)
        await self._present.first_look(FIRST_LOOK_S)

    async def read_keys(self) -> None:
        """Know at once of keys that were made since."""
        await self._accounts.refresh()

    async def reload(self, loaded: Loaded) -> None:
        """Serve new requests from another configuration; running ones keep theirs.

        Raises StartError, and then nothing has changed.
        """
        try:
            fresh = self._generation(loaded)
        except StartError:
            await self._stop_unused_engines()
            raise
        fresh.fleet.continue_from(self._present.fleet)
        await fresh.first_look(FIRST_LOOK_S)
        old, self._present = self._present, fresh
        task = asyncio.create_task(self._retire(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def stop(self) -> None:
        """Settle and write what is left, then close everything. Requests should be over."""
        await asyncio.gather(*(one.retire(LAST_REQUESTS_S) for one in self._in_use))
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=LAST_REQUESTS_S)
        await self._settlement.close()
        await self._writer.close()
        await self._accounts.close()
        await self._engines.close()
        await self._session.close()
        await self._store.close()
        self._request_log.flush()

    def fleet_now(self) -> Fleet:
        """What can be asked at present."""
        return self.present().fleet.now()

    def stalled_client_s(self) -> float:
        """How long a client may read nothing, as the present generation has it."""
        return self.present().stalled_client_s

    def present(self) -> Generation:
        """See Process.present."""
        return self._present

    def observe(self, note: RequestNote) -> None:
        """See Process.observe."""
        if note.path.startswith(OBSERVED):
            self._metrics.observe_request(note)
            self._request_log.write(note)

    def _generation(self, loaded: Loaded) -> Generation:
        """Build one. Its engines are in use from now on, before it serves any request."""
        builder = MemberBuilder(self._session, self._engines, os.environ)
        fleet = build_fleet(loaded, builder, Discovering(self._session, os.environ))
        attempts = Attempts(fleet.upstream_named, self._settlement, self._clock, self._breakers)
        settings = _endurance(loaded.configuration.endurance)
        endurance = Endurance(settings, self._breakers, self._clock)
        serving = Serving(
            gateway=Gateway(
                fleet.now, attempts, endurance, self._writer, schemas.fits, self._clock
            ),
            accounts=self._accounts,
            fleet_now=fleet.now,
            limits=_limits(loaded.configuration.server, self._host),
            clock=self._clock,
            unready_because=lambda: self._unready_because(fleet.now()),
            metrics=self._metrics.text,
        )
        generation = Generation(loaded, serving, fleet)
        self._in_use.append(generation)
        return generation

    async def _retire(self, old: Generation) -> None:
        await old.retire()
        self._in_use.remove(old)
        await self._stop_unused_engines()

    async def _stop_unused_engines(self) -> None:
        used = chain.from_iterable(g.fleet.upstreams() for g in self._in_use)
        await self._engines.keep_only(used)

    def _unready_because(self, fleet: Fleet) -> str | None:
        if self._writer.is_full:
            return "the store fails and too many attempts wait for it"
        if not fleet.deployments:
            return "no model was found; `ecluse doctor` tells what is missing"
        if not fleet.is_alive:
            return "no model answers; `ecluse doctor` tells who cannot be reached"
        return None


def _endurance(entry: schema.Endurance) -> EnduranceSettings:
    return EnduranceSettings(entry.retry_seconds, entry.hedge_after_seconds, entry.hedge_share)


def _limits(server: Server, bound_host: str) -> Limits:
    # A proxy of this machine brings in others, though only this machine can reach the address.
    behind_proxy = bool(server.trusted_proxies or server.root_path)
    return Limits(
        max_body_bytes=server.max_body_bytes,
        hold_silently_s=server.hold_silently_seconds,
        root_path=server.root_path,
        open_metrics=is_loopback(bound_host) and not behind_proxy,
    )
