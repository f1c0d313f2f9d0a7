"""A configuration's upstreams, asked over real sockets."""

from __future__ import annotations

import aiohttp
from tests.support.openai_server import OpenAIServer, always, whole

from ecluse.app.discovering import Discovering
from ecluse.app.engines import Engines
from ecluse.app.fleet import build_fleet
from ecluse.app.members import MemberBuilder
from ecluse.config.load import Loaded, parse
from ecluse.domain.catalog.deployments import Deployment

CONFIGURATION = """
[demonstration]
enabled = false
[discovery]
local = false
[[upstreams]]
kind = "http"
name = "far"
url = "{url}"
[[upstreams.models]]
name = "short"
upstream_name = "theirs"
context_tokens = 4
[[upstreams.models]]
name = "long"
upstream_name = "theirs"
[upstreams.models.price]
prompt_per_million = 1
completion_per_million = 2
"""
THEIRS = whole({"data": [{"id": "theirs", "context_length": 8}, {"id": "other"}]})


async def test_one_model_under_two_names() -> None:
    """Each name with its price; what the file leaves unset is what the upstream says."""
    async with OpenAIServer(always(*THEIRS)) as server, aiohttp.ClientSession() as session:
        loaded = Loaded(parse(CONFIGURATION.format(url=server.url), "x"), None, 1)
        builder = MemberBuilder(session, Engines(), {})
        keeper = build_fleet(loaded, builder, Discovering(session, {}))
        await keeper.refresh()
    facts = {name: _facts(*places) for name, places in keeper.now().deployments.items()}
    assert facts == {"short": ("theirs", 4, False, True), "long": ("theirs", 8, True, True)}


def _facts(place: Deployment) -> tuple[str, int | None, bool, bool]:
    has_price = place.price is not None
    return place.offer.upstream_model, place.offer.context_tokens, has_price, place.alive
