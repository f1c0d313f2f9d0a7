"""The HTTP session of all upstreams; it tells a request whether its connection was a used one."""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp


class Sending:
    """One sending of a request, given to aiohttp as ``trace_request_ctx``.

    A session that ``open_session`` did not make leaves ``reuses_connection`` False.
    """

    reuses_connection = False


def open_session() -> aiohttp.ClientSession:
    """A session without cookies and without a limit to its connections."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
    )


async def _note_reuse(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
) -> None:
    if isinstance(context.trace_request_ctx, Sending):
        context.trace_request_ctx.reuses_connection = True
