"""Turns what discovery finds into members: local servers, and paid APIs once they are enabled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import aiohttp
from yarl import URL

from ecluse.adapters.discovery.local import Found, find_local
from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.config.schema import Configuration
from ecluse.config.schema import HttpUpstream as HttpEntry
from ecluse.domain.catalog.suppliers import keys_found
from ecluse.runtime.fleet import Member

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Discovering:
    """Looks around with one HTTP session and one environment."""

    def __init__(self, session: aiohttp.ClientSession, environment: Mapping[str, str]) -> None:
        self._session = session
        self._environment = environment

    def search(self, configuration: Configuration) -> Callable[[], Awaitable[Sequence[Member]]]:
        """What to call for the members that nobody configured."""
        paid = list(self._paid(configuration))
        known = frozenset(_configured_places(configuration))

        async def look() -> Sequence[Member]:
            if not configuration.discovery.local:
                return paid
            found = await find_local(self._session)
            return [*paid, *(self._member(one) for one in found if _place(one.url) not in known)]

        return look

    def _paid(self, configuration: Configuration) -> Iterator[Member]:
        for key in keys_found(self._environment, configuration.discovery.paid):
            if key.enabled:
                supplier = key.supplier
                secret = self._environment[supplier.key_variable].strip()
                upstream = HttpUpstream(
                    supplier.name, supplier.url, self._session, key=secret, has_tokenizer=False
                )
                yield Member(supplier.name, upstream)

    def _member(self, found: Found) -> Member:
        upstream = HttpUpstream(found.kind, found.url, self._session, offers=found.offers)
        return Member(found.kind, upstream)


def _configured_places(configuration: Configuration) -> Iterator[tuple[str, int | None]]:
    for entry in configuration.upstreams:
        if isinstance(entry, HttpEntry):
            yield _place(entry.url)


def _place(url: str) -> tuple[str, int | None]:
    """Host and port, this machine's names being one."""
    parsed = URL(url)
    host = parsed.host or ""
    return ("loopback" if host in LOOPBACK_NAMES else host), parsed.port
