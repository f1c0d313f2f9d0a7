"""``ecluse keys``: make, list and revoke API keys."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter

from ecluse.administration import KeyAdministration
from ecluse.cli.moments import duration_s, iso, iso_or_none, minute
from ecluse.cli.open_store import load_configuration, store_directory
from ecluse.cli.tables import print_json, print_table
from ecluse.domain.values.keys import StoredKey

T = TypeVar("T")


def create(
    *,
    name: str = "default",
    route: Annotated[list[str] | None, Parameter(negative="")] = None,
    expires: str | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """Make an API key and show it, this once.

    The key alone goes to standard output and what it may do to standard error, so that
    ``KEY=$(ecluse keys create)`` works.

    Parameters
    ----------
    name
        What you will know the key by; several keys may share a name.
    route
        A route or model the key may use; may be given several times. Without it: every route.
    expires
        How long the key lives, like 30d or 12h. Without it: until it is revoked.
    config
        The configuration file.
    json
        Print one JSON object.
    """
    lifetime_s = None if expires is None else duration_s(expires)
    key, text = _administer(config, lambda keys: keys.create(name, route, lifetime_s))
    _doubt(route or (), config)
    if json:
        print_json({"key": text, **_created(key)})
        return
    print(text)
    print(_sentence(key), file=sys.stderr)


def list_(*, config: Path | None = None, json: bool = False) -> None:
    """List the API keys, never their secrets.

    Parameters
    ----------
    config
        The configuration file.
    json
        Print a JSON array.
    """
    keys = _administer(config, lambda administration: administration.list())
    now_s = _now_s()
    if json:
        print_json([_listed(key, now_s) for key in keys])
    elif not keys:
        print("There are no keys yet. `ecluse keys create` makes one.")
    else:
        _print_keys(keys, now_s)


def revoke(key: str, /, *, config: Path | None = None) -> None:
    """Revoke an API key: a running gateway refuses it within a second.

    Parameters
    ----------
    key
        The key's id, the beginning of its id (four characters or more), or its name.
    config
        The configuration file.
    """
    revoked = _administer(config, lambda keys: keys.revoke(key))
    print(
        f'The key "{revoked.name}" ({revoked.key_id}) is revoked; '
        "a running gateway refuses it within a second."
    )


def _administer(config: Path | None, act: Callable[[KeyAdministration], Awaitable[T]]) -> T:
    """Open the database, act on its keys, and close it."""
    from ecluse.adapters.store.store import open_store
    from ecluse.adapters.system_clock import SystemClock

    async def acted() -> T:
        async with open_store(store_directory(config)) as store:
            return await act(KeyAdministration(store.keys, SystemClock()))

    return asyncio.run(acted())


def _doubt(routes: Iterable[str], config: Path | None) -> None:
    """Say which of a new key's routes the configuration does not know: a slip is easily made."""
    from ecluse.diagnosis.advice import about_route

    configuration = load_configuration(config).configuration
    for route in routes:
        if (doubt := about_route(route, configuration)) is not None:
            print(f"Warning: {doubt} The key is made for it all the same.", file=sys.stderr)


def _now_s() -> int:
    from ecluse.adapters.system_clock import SystemClock

    return SystemClock().unix_us() // 1_000_000


def _created(key: StoredKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "routes": None if key.routes is None else sorted(key.routes),
        "expires_at": iso_or_none(key.expires_at_s),
    }


def _listed(key: StoredKey, now_s: int) -> dict[str, object]:
    return {
        **_created(key),
        "created_at": iso(key.created_at_s),
        "revoked_at": iso_or_none(key.revoked_at_s),
        "state": _state(key, now_s),
    }


def _sentence(key: StoredKey) -> str:
    routes = "every route" if key.routes is None else f"only {', '.join(sorted(key.routes))}"
    until = "until it is revoked" if key.expires_at_s is None else f"until {iso(key.expires_at_s)}"
    return (
        f'This is the key "{key.name}" ({key.key_id}). Keep it now: it is stored only as a hash '
        f"and cannot be shown again. It may use {routes}, {until}."
    )


def _state(key: StoredKey, now_s: int) -> str:
    if key.revoked_at_s is not None:
        return "revoked"
    return "valid" if key.is_valid(now_s) else "expired"


def _print_keys(keys: Sequence[StoredKey], now_s: int) -> None:
    headings = ("id", "name", "state", "made (UTC)", "expires (UTC)", "routes")
    rows = (
        (
            key.key_id,
            key.name,
            _state(key, now_s),
            minute(key.created_at_s),
            "never" if key.expires_at_s is None else minute(key.expires_at_s),
            "every" if key.routes is None else ", ".join(sorted(key.routes)),
        )
        for key in keys
    )
    print_table([(heading, False) for heading in headings], rows)
