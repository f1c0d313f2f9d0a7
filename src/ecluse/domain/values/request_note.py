"""What is told of a request once it is over: in the log line and in the metrics."""

from __future__ import annotations

import msgspec

from ecluse.domain.values.usage import Usage


class RequestNote(msgspec.Struct):
    """Filled in while a request is served; never holds text of a prompt or an answer.

    ``status`` is the HTTP status (499 when the client left). ``first_token_us`` and
    ``duration_us`` count from the request's arrival. ``usage`` is the accepted answer's.
    """

    request_id: str
    method: str
    path: str
    started_at_us: int
    status: int = 0
    key_id: str | None = None
    route: str | None = None
    route_exists: bool = False
    model: str | None = None
    attempts: int = 0
    stream: bool = False
    first_token_us: int | None = None
    duration_us: int = 0
    usage: Usage | None = None
    error_code: str | None = None
