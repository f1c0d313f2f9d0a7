"""What can go wrong with an upstream over HTTP, translated into our error tree."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from ecluse.adapters.upstreams.openai_wire import error_reason
from ecluse.domain.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)

CONTEXT_EXCEEDED_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
LONGEST_RETRY_AFTER_S = 86_400
RETRY_UNREACHABLE_S = 5


def as_upstream_error(error: Exception, upstream: str, *, answering: bool) -> UpstreamError:
    """Translate what the HTTP client raised; ``answering`` means the headers had come."""
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return _unreachable(upstream)
        case TimeoutError():
            return UpstreamSilent(
                f"The upstream {upstream} sent nothing for too long.",
                next_step="Ask again, or raise its limits in the configuration.",
            )
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | ConnectionError():
            if answering:
                return UpstreamTruncated(
                    f"The upstream {upstream} broke off in the middle of its answer.",
                    next_step="Ask again; if it repeats, look at the upstream's log.",
                )
            return _unreachable(upstream)
        case aiohttp.ClientResponseError() | ValueError():
            return UpstreamGarbage(
                f"The upstream {upstream} does not speak proper HTTP.",
                next_step="Check its url in the configuration.",
            )
        case _:
            return _unreachable(upstream)


def _unreachable(upstream: str) -> UpstreamUnreachable:
    return UpstreamUnreachable(
        f"The upstream {upstream} cannot be reached.",
        next_step="See whether it runs: `ecluse doctor` tells.",
        retry_after_s=RETRY_UNREACHABLE_S,
    )


def refusal(upstream: str, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error for an answer whose status is not 200."""
    told = error_reason(body)
    if status >= 500:
        return UpstreamFailed(
            f"The upstream {upstream} failed with status {status}: {told.message}",
            retry_after_s=retry_after_s(headers),
        )
    if status < 400:
        return UpstreamGarbage(
            f"The upstream {upstream} answered with status {status}.",
            next_step="Check its url in the configuration.",
        )
    if status in (401, 403):
        return UpstreamRefused(
            f"The upstream {upstream} refused our key for it (status {status}).",
            next_step="Whoever runs this gateway should check that key.",
            upstream_status=status,
        )
    code, kind = _text(told.code), _text(told.type)
    if code in CONTEXT_EXCEEDED_CODES or kind in CONTEXT_EXCEEDED_CODES:
        code = "context_length_exceeded"
    return UpstreamRefused(
        str(told.message),
        upstream_status=status,
        code=code,
        param=_text(told.param),
        retry_after_s=retry_after_s(headers),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3); a date counts from the Date header."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return min(int(value[:9]), LONGEST_RETRY_AFTER_S)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, min(int(wait.total_seconds()), LONGEST_RETRY_AFTER_S))
