"""``GET /v1/models`` and ``GET /v1/models/{model}``."""

from __future__ import annotations

from ecluse.api.authentication import authenticate
from ecluse.api.exchange import Exchange
from ecluse.api.serving import Serving
from ecluse.domain.catalog.deployments import Fleet
from ecluse.domain.routing.plan import unknown_route
from ecluse.domain.values.request_note import RequestNote

PREFIX = "/v1/models/"


async def list_models(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """List what the key may name in ``model``."""
    account = authenticate(exchange, serving)
    note.key_id = account.key_id
    fleet = serving.fleet_now()
    data = [_described(name, fleet) for name in fleet.names() if account.may_use(name)]
    await exchange.respond_json(200, {"object": "list", "data": data})


async def one_model(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """Describe one of them."""
    account = authenticate(exchange, serving)
    note.key_id = account.key_id
    name = exchange.path.removeprefix(PREFIX)
    fleet = serving.fleet_now()
    if name not in fleet.names() or not account.may_use(name):
        raise unknown_route(name, account, fleet)
    await exchange.respond_json(200, _described(name, fleet))


def _described(name: str, fleet: Fleet) -> dict[str, object]:
    """The OpenAI shape, with what we know of the model beside it."""
    described: dict[str, object] = {"id": name, "object": "model", "created": 0}
    route = fleet.routes.get(name)
    if route is not None:
        stages = [stage.model for stage in route.stages]
        return described | {"owned_by": "ecluse", "ecluse": {"route": stages}}
    places = fleet.deployments[name]
    contexts = [p.offer.context_tokens for p in places if p.offer.context_tokens is not None]
    facts: dict[str, object] = {"deployments": [place.name for place in places]}
    if contexts:
        facts["context_tokens"] = max(contexts)
    if any(place.demonstration for place in places):
        facts["demonstration"] = True
    return described | {"owned_by": places[0].place, "ecluse": facts}
