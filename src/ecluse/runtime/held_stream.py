"""A stream that may stay silent at first, so that a failure still is a true HTTP error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def silences(
    stream: AsyncGenerator[T, None], silent_s: float, every_s: float
) -> AsyncGenerator[T | None, None]:
    """Pass a stream on, with None each time its first item is not there yet: after ``silent_s``,
    then every ``every_s`` seconds. Closing closes the stream.
    """
    first = asyncio.ensure_future(anext(stream, None))
    try:
        wait_s = silent_s
        while not (await asyncio.wait((first,), timeout=wait_s))[0]:
            wait_s = every_s
            yield None
        item = first.result()
        if item is None:
            return
        yield item
        async for item in stream:
            yield item
    finally:
        if not first.done():
            first.cancel()
            await asyncio.wait((first,))
        if not first.cancelled():
            first.exception()  # else asyncio warns of an error that came while we were closing
        await stream.aclose()
