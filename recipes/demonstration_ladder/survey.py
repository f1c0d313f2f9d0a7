"""Right answers by kind, of every kind the models were trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ecluse.demonstration.tasks import Kind, Split, draw, grade
from ecluse.evaluation.client import Gateway

CHECKED = 60
"""Items of each kind; the smallest kinds hold out some hundred."""
CHECKED_COUNTS = 8
KINDS: tuple[Kind, ...] = (
    *(Kind("add", digits) for digits in (2, 3, 4, 5, 6, 8)),
    *(Kind("sort", items) for items in (4, 8, 12, 16, 20, 24)),
    *(Kind("reverse", letters) for letters in (3, 5, 7, 9, 11, 13, 15)),
    *(Kind("chain", digits) for digits in (2, 3, 4, 5)),
    *(Kind("count", step) for step in (1, 3, 7)),
    *(Kind("multiply", digits) for digits in (2, 3, 4)),
)

Survey = dict[str, dict[str, float]]
"""Shares of right answers by kind, then by model."""


async def survey(
    gateway: Gateway, models: Sequence[str], split: Split, count: int, seed: int
) -> Survey:
    """Ask every model as many tasks of every kind; fewer counts, which are long."""
    found: Survey = {}
    for kind in KINDS:
        number = CHECKED_COUNTS if kind.family == "count" else count
        tasks = draw(split, [kind], number, random.Random(seed))
        found[str(kind)] = {}
        for model in models:
            answers = [await gateway.ask(model, task.prompt) for task in tasks]
            right = sum(grade(t, a.text) for t, a in zip(tasks, answers, strict=True))
            found[str(kind)][model] = right / number
    return found
