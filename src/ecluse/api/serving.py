"""What the endpoints serve from: one generation of the configuration, built by ``app``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ecluse.domain.catalog.deployments import Fleet
from ecluse.domain.values.request_note import RequestNote
from ecluse.gateway import Gateway
from ecluse.ports import Clock
from ecluse.runtime.accounts import Accounts


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what a client may do. ``open_metrics`` lets anybody read ``/metrics``."""

    max_body_bytes: int
    hold_silently_s: float
    root_path: str
    open_metrics: bool


class Serving(msgspec.Struct, frozen=True):
    """What a request is served from, from its beginning to its end."""

    gateway: Gateway
    accounts: Accounts
    fleet_now: Callable[[], Fleet]
    limits: Limits
    clock: Clock
    unready_because: Callable[[], str | None]
    metrics: Callable[[], bytes]


class Generation(Protocol):
    """A generation of the configuration stays open while a request is entered into it."""

    @property
    def serving(self) -> Serving:
        """What its requests are served from."""
        ...

    def enter(self) -> None:
        """A request begins."""
        ...

    def leave(self) -> None:
        """A request is over."""
        ...


class Process(Protocol):
    """The running program, as the dispatcher sees it."""

    def present(self) -> Generation:
        """The generation that new requests are served from."""
        ...

    def observe(self, note: RequestNote) -> None:
        """Log and count a request that is over."""
        ...
