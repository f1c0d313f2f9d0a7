"""Who holds the port that we wanted."""

from __future__ import annotations

import http.client
from contextlib import closing

OURSELVES = "ecluse"
PATIENCE_S = 1.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - they are asked for, not bound


def is_an_ecluse(host: str, port: int) -> bool:
    """Whether an Ecluse answers there."""
    asked = http.client.HTTPConnection(ANYWHERE.get(host, host), port, timeout=PATIENCE_S)
    try:
        with closing(asked):
            asked.request("GET", "/healthz")
            return asked.getresponse().headers.get("server") == OURSELVES
    except (OSError, http.client.HTTPException):
        return False
