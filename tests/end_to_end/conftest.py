"""A real gateway in a process of its own, and a mock upstream for it to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.end_to_end.gateway_process import Starter
from tests.end_to_end.mock_server import MockServer


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    """An upstream whose behaviour is the name of the model."""
    with MockServer() as server:
        yield server


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts gateways for a module; at its end each must stop cleanly on SIGTERM."""
    starter = Starter(tmp_path_factory)
    try:
        yield starter
        starter.stop_all()
    finally:
        starter.kill_all()
