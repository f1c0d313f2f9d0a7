"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever runs the gateway."""

from __future__ import annotations

from ecluse.api.authentication import authenticate
from ecluse.api.exchange import Exchange
from ecluse.api.serving import Serving
from ecluse.domain.values.request_note import RequestNote

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


async def healthz(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """The process lives."""
    await exchange.respond_json(200, {"status": "ok"})


async def readyz(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """Requests can be answered and counted; 503 with the reason when not."""
    reason = serving.unready_because()
    if reason is None:
        await exchange.respond_json(200, {"status": "ready"})
    else:
        await exchange.respond_json(503, {"status": "not ready", "reason": reason})


async def metrics(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """Prometheus text; with a key once the gateway is open to other machines."""
    if not serving.limits.open_metrics:
        authenticate(exchange, serving)
    await exchange.respond(200, serving.metrics(), METRICS_TYPE)
