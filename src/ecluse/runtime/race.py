"""Hedging: a second attempt beside one that is slow to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ecluse.runtime.attempts import Attempt


async def first_to_begin(
    lead: Attempt, backup: Callable[[], Attempt | None], after_s: float | None
) -> Attempt:
    """Begin an attempt, and ``after_s`` later a second one if the first has still said nothing;
    return the one that begins first. The other one is closed and settled.

    Raises what the last of them failed of.
    """
    if after_s is None:
        await lead.begin()
        return lead
    racing = {asyncio.create_task(lead.begin()): lead}
    try:
        winner = await _first(racing, backup, after_s)
    except BaseException:
        await _leave(racing)
        raise
    for other in racing.values():
        other.outrun()
    try:
        await _leave(racing)
    except BaseException:
        await winner.end()  # nobody is there to take it
        raise
    return winner


async def _first(
    racing: dict[asyncio.Task[None], Attempt],
    backup: Callable[[], Attempt | None],
    after_s: float,
) -> Attempt:
    """The first to begin; ``racing`` keeps those that are still under way."""
    timeout_s: float | None = after_s
    while True:
        begun, _ = await asyncio.wait(
            racing, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in begun:
            attempt = racing.pop(task)
            error = task.exception()
            if error is None:
                return attempt
            if not racing:
                raise error
        if not begun and (second := backup()) is not None:
            racing[asyncio.create_task(second.begin())] = second
        timeout_s = None


async def _leave(racing: dict[asyncio.Task[None], Attempt]) -> None:
    """Close them all, to the end even when whoever waits for that is cancelled."""
    leaving = [asyncio.create_task(_close(*each)) for each in racing.items()]
    if leaving:
        await asyncio.wait(leaving)


async def _close(beginning: asyncio.Task[None], attempt: Attempt) -> None:
    beginning.cancel()
    await asyncio.wait((beginning,))
    if not beginning.cancelled() and beginning.exception() is None:
        await attempt.end()  # it began in the same moment
