"""``ecluse demo``."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ecluse.cli.demo_view import show
from ecluse.demonstration import ladder
from ecluse.domain.errors import StartError
from ecluse.evaluation.demonstration import (
    CASCADE_ROUTE,
    Gateway,
    StrategyResult,
    held_out_tasks,
    measure,
)
from ecluse.evaluation.private_gateway import private_gateway

FEWEST_TASKS = 7


def demo(
    *,
    tasks: int = 350,
    seed: int = 1,
    json: Path | None = None,
    url: str | None = None,
    key: str | None = None,
) -> None:
    """Show the cascade at work on real models: two tiny ones that add and sort.

    Held-out tasks go through the small model, the large model and the route `demo`, which asks
    the small one first and rises only when it was unsure. A gateway of its own is started for it.

    Parameters
    ----------
    tasks
        How many tasks each strategy gets.
    seed
        Which tasks are drawn.
    json
        A file for the results as JSON.
    url
        Use a running gateway instead, such as http://127.0.0.1:4242.
    key
        The API key for it.
    """
    if tasks < FEWEST_TASKS:
        raise StartError(f"--tasks must be at least {FEWEST_TASKS}, one of each kind.")
    if (url is None) != (key is None):
        raise StartError("--url and --key belong together.")
    results = asyncio.run(_measure_all(tasks, seed, url, key))
    if json is not None:
        document = {"seed": seed, "tasks": tasks, "strategies": results}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    show(results, Console())


async def _measure_all(
    count: int, seed: int, url: str | None, key: str | None
) -> list[StrategyResult]:
    tasks = held_out_tasks(count, seed)
    models = [*(rung.name for rung in ladder.rungs()), CASCADE_ROUTE]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        if url is not None and key is not None:
            gateway = Gateway(session, url, key)
        else:
            gateway = await stack.enter_async_context(private_gateway(session))
        progress = stack.enter_context(_progress_bars())
        results = []
        for model in models:
            bar = progress.add_task(model, total=len(tasks))
            results.append(await measure(gateway, model, tasks, partial(progress.advance, bar)))
        return results


def _progress_bars() -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
