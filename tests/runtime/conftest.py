"""What waits and buffers is tested in virtual time: seconds are exact, and cost none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    """Every asynchronous test of this folder gets a loop of its own."""
    return {"virtual time": VirtualTimeLoop}
