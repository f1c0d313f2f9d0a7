"""``ecluse demo``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.demonstration import (
    CASCADE_NAME,
    CASCADE_ROUTE,
    Blocks,
    Measured,
    Report,
    compared,
    dealt,
    held_out_tasks,
    measure,
    specialist_tasks,
    summed_up,
)
from ecluse.evaluation.private_gateway import private_gateway

FEWEST_TASKS = 20
TASKS_PER_SPECIALIST_TASK = 5
MOST_TASKS = 2_000
"""More than that and a kind of task would run out of prompts that were held out."""


def demo(
    *,
    tasks: int = 300,
    seed: int = 1,
    json: Path | None = None,
    svg: Path | None = None,
    png: Path | None = None,
    url: str | None = None,
    key: str | None = None,
) -> None:
    """Show the cascade at work on real models: tiny ones that add, sort, reverse and count.

    Held-out tasks go through each model alone and through the route `demo`, which asks the
    smallest first and rises only when it was unsure. A gateway of its own is started for it.

    Parameters
    ----------
    tasks
        How many tasks each strategy gets.
    seed
        Which tasks are drawn.
    json
        A file for the results as JSON.
    svg
        A file for the chart as SVG.
    png
        A file for the chart as PNG.
    url
        Use a running gateway instead, such as http://127.0.0.1:4242.
    key
        The API key for it.
    """
    if not FEWEST_TASKS <= tasks <= MOST_TASKS:
        raise StartError(f"--tasks must be {FEWEST_TASKS} to {MOST_TASKS}.")
    if (url is None) != (key is None):
        raise StartError("--url and --key belong together.")
    for option, file in (("json", json), ("svg", svg), ("png", png)):
        if file is not None and not file.absolute().parent.is_dir():
            raise StartError(f"--{option}: there is no folder {file.parent}.")
    report = asyncio.run(_measure_all(tasks, seed, url, key))
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if svg is not None or png is not None:
        from ecluse.cli.demo_chart import draw  # it brings matplotlib along

        draw(report, svg, png)
    show(report, Console())


async def _measure_all(count: int, seed: int, url: str | None, key: str | None) -> Report:
    mix = dealt(held_out_tasks(count, seed))
    own = dealt(specialist_tasks(max(FEWEST_TASKS, count // TASKS_PER_SPECIALIST_TASK), seed))
    singles = [model.name for model in ladder.models()]
    largest, specialist = ladder.rungs()[-1].name, ladder.specialist().name
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        if url is not None and key is not None:
            gateway = Gateway(session, url, key)
        else:
            gateway = await stack.enter_async_context(private_gateway(session))
        progress = stack.enter_context(_progress_bars())
        on_mix = await _measure_each(gateway, [*singles, CASCADE_ROUTE], mix, progress, "")
        on_own = await _measure_each(gateway, [largest, specialist], own, progress, " (multiply)")
    by_name = {measured.name: measured for measured in on_mix}
    return Report(
        seed,
        count,
        [summed_up(measured, seed) for measured in on_mix],
        compared(by_name[CASCADE_NAME], by_name[largest], seed),
        [summed_up(measured, seed) for measured in on_own],
    )


async def _measure_each(
    gateway: Gateway, models: Sequence[str], blocks: Blocks, progress: Progress, remark: str
) -> list[Measured]:
    measured = []
    for model in models:
        bar = progress.add_task(model + remark, total=sum(map(len, blocks)))
        measured.append(await measure(gateway, model, blocks, partial(progress.advance, bar)))
    return measured


def _progress_bars() -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
