"""Prices reach the deployments that they are for."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from ecluse.app.discovering import Discovering
from ecluse.app.engines import Engines
from ecluse.app.fleet import build_fleet
from ecluse.app.members import MemberBuilder
from ecluse.config.load import Loaded, parse
from ecluse.demonstration import ladder
from ecluse.domain.errors import ConfigurationError
from ecluse.domain.values.money import PriceTerms

EMBEDDED = f"""
[discovery]
local = false
[demonstration]
enabled = false
[[upstreams]]
kind = "llama_cpp"
name = "here"
[[upstreams.models]]
name = "mine"
file = '{ladder.rungs()[0].path}'
price = {{ prompt_per_million = "0.10", completion_per_million = PRICE, currency = "EUR" }}
"""


async def test_an_embedded_model_has_its_price(tmp_path: Path) -> None:
    """Electricity and the machine are paid by somebody, too."""
    configuration = parse(EMBEDDED.replace("PRICE", '"0.20"'), "ecluse.toml")
    engines = Engines()
    async with aiohttp.ClientSession() as session:
        builder = MemberBuilder(session, engines, {})
        loaded = Loaded(configuration, tmp_path / "ecluse.toml", 1)
        fleet = build_fleet(loaded, builder, Discovering(session, {}))
        await fleet.refresh()
        (deployment,) = fleet.now().deployments["mine"]
        await engines.close()
    assert deployment.price == PriceTerms("EUR", 100_000_000, 200_000_000, 100_000_000)


def test_an_impossible_price_of_an_embedded_model_is_told() -> None:
    """With its line, as of any other model."""
    with pytest.raises(ConfigurationError, match=r":12: .*price.*negative"):
        parse(EMBEDDED.replace("PRICE", "-1"), "ecluse.toml")
