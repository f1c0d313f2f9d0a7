"""Turns what discovery finds into members: local servers, and paid APIs once they are enabled."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing

import aiohttp
from yarl import URL

from ecluse.adapters.discovery.local import USUAL_PORTS, Found, Kind, find_local
from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.config.schema import Configuration
from ecluse.config.schema import HttpUpstream as HttpEntry
from ecluse.domain.catalog.suppliers import keys_found
from ecluse.runtime.members import Member

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Discovering:
    """Looks around with one HTTP session and one environment, at the usual ports."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        environment: Mapping[str, str],
        ports: Mapping[Kind, int] = USUAL_PORTS,
    ) -> None:
        self._session = session
        self._environment = environment
        self._ports = ports

    def paid(self, configuration: Configuration) -> Iterator[Member]:
        """The suppliers that are enabled and have a key, unless one of that name is configured."""
        configured = {entry.name for entry in configuration.upstreams}
        for key in keys_found(self._environment, configuration.discovery.paid):
            supplier = key.supplier
            if key.enabled and supplier.name not in configured:
                secret = self._environment[supplier.key_variable].strip()
                upstream = HttpUpstream(
                    supplier.name, supplier.url, self._session, key=secret, has_tokenizer=False
                )
                yield Member(supplier.name, upstream, origin=supplier)

    def search(self, configuration: Configuration) -> Callable[[], AsyncGenerator[Member, None]]:
        """What to call for the servers of this machine that nobody configured."""
        known = frozenset(_configured_places(configuration))
        taken = frozenset(entry.name for entry in configuration.upstreams)

        async def look() -> AsyncGenerator[Member, None]:
            if not configuration.discovery.local:
                return
            async with aclosing(find_local(self._session, self._ports)) as servers:
                async for found in servers:
                    if _place(found.url) not in known:
                        yield self._member(found, taken)

        return look

    def _member(self, found: Found, taken: frozenset[str]) -> Member:
        """A server named for its kind; elsewhere than at its usual port, for the port as well."""
        port = URL(found.url).port
        is_usual = port == self._ports.get(found.kind)
        name = found.kind if is_usual and found.kind not in taken else f"{found.kind}-{port}"
        return Member(name, HttpUpstream(name, found.url, self._session, offers=found.offers))


def _configured_places(configuration: Configuration) -> Iterator[tuple[str, int | None]]:
    for entry in configuration.upstreams:
        if isinstance(entry, HttpEntry):
            yield _place(entry.url)


def _place(url: str) -> tuple[str, int | None]:
    """Host and port, this machine's names being one."""
    parsed = URL(url)
    host = parsed.host or ""
    return ("loopback" if host in LOOPBACK_NAMES else host), parsed.port
