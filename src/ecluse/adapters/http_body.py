"""Bodies of answers, read no further than a limit."""

from __future__ import annotations

import aiohttp


async def read_up_to(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Read a body of at most ``limit_bytes`` whole; of a longer one read a little more than that.

    So more bytes than the limit mean that the body is too long. Raises what aiohttp raises.
    """
    pieces = bytearray()
    while len(pieces) <= limit_bytes and (piece := await response.content.readany()):
        pieces += piece
    return bytes(pieces)
