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
    winner: Attempt | None = None
    timeout_s: float | None = after_s
    try:
        while True:
            begun, _ = await asyncio.wait(
                racing, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in begun:
                attempt = racing.pop(task)
                error = task.exception()
                if error is None:
                    winner = attempt
                    return winner
                if not racing:
                    raise error
            if not begun and (second := backup()) is not None:
                racing[asyncio.create_task(second.begin())] = second
            timeout_s = None
    finally:
        await _leave(racing, outrun=winner is not None)


async def _leave(racing: dict[asyncio.Task[None], Attempt], *, outrun: bool) -> None:
    for task, attempt in racing.items():
        if outrun:
            attempt.outrun()
        if task.done() and not task.cancelled() and task.exception() is None:
            await attempt.end()  # it began in the same moment
        task.cancel()
    if racing:
        await asyncio.wait(racing)
