"""Sends held-out tasks through each model alone and through the cascade, over real HTTP."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ecluse.demonstration import ladder
from ecluse.demonstration.tasks import EASY, MIX, SPECIALIST_KINDS, Kind, Task, draw, grade
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.intervals import bootstrap, wilson
from ecluse.evaluation.meter import Used

CASCADE_ROUTE = "demo"
CASCADE_NAME = "auto"
PLACE = "demonstration"
BLOCKS = 10
"""What is counted is read after each block of tasks: their spread gives the intervals."""

Interval = tuple[float, float]
Blocks = Sequence[Sequence[Task]]


class Mark(msgspec.Struct, frozen=True):
    """How one task went: whether its answer was right, and whose it was."""

    task: Task
    right: bool
    answered_by: str


class Block(msgspec.Struct, frozen=True):
    """Tasks that were sent together, and all that was used for them."""

    marks: tuple[Mark, ...]
    used: Used
    compute_flop: int

    @property
    def right(self) -> int:
        """Right answers."""
        return sum(mark.right for mark in self.marks)


class Measured(msgspec.Struct, frozen=True):
    """What one strategy did, block by block."""

    name: str
    blocks: tuple[Block, ...]


class StrategyResult(msgspec.Struct, frozen=True):
    """What one strategy did with all tasks.

    ``calls`` counts every attempt, ``compute_flop`` is 2 × parameters × tokens of them all,
    ``cpu_seconds`` the engines' user and system time, ``answered_by`` whose answer was accepted,
    ``by_kind`` and ``by_half`` the shares of right answers. ``intervals`` hold 95 %: Wilson's for
    ``accuracy``, a bootstrap over blocks for the rest.
    """

    name: str
    tasks: int
    accuracy: float
    calls: int
    prompt_tokens: int
    completion_tokens: int
    compute_flop: int
    cpu_seconds: float
    intervals: dict[str, Interval]
    answered_by: dict[str, int]
    by_half: dict[str, float]
    by_kind: dict[str, float]


class Comparison(msgspec.Struct, frozen=True):
    """One strategy as a share of another on the same tasks; intervals from a paired bootstrap."""

    name: str
    against: str
    shares: dict[str, float]
    intervals: dict[str, Interval]


class Report(msgspec.Struct, frozen=True):
    """All that ``ecluse demo`` measured. ``specialist`` is a second measurement, on the one family
    of tasks that the specialist was made for.
    """

    seed: int
    tasks: int
    strategies: list[StrategyResult]
    cascade: Comparison
    specialist: list[StrategyResult]
    demonstration: str = "Tiny models, trained for this demonstration: what they show is the way."


Figure = Callable[[Sequence[Block]], float]

FIGURES: dict[str, Figure] = {
    "calls": lambda blocks: sum(block.used.calls for block in blocks),
    "prompt_tokens": lambda blocks: sum(block.used.prompt_tokens for block in blocks),
    "completion_tokens": lambda blocks: sum(block.used.completion_tokens for block in blocks),
    "compute_flop": lambda blocks: sum(block.compute_flop for block in blocks),
    "cpu_seconds": lambda blocks: sum(block.used.cpu_seconds for block in blocks),
}
COMPARED: dict[str, Figure] = {
    "accuracy": lambda blocks: sum(block.right for block in blocks),
    "cpu_seconds": FIGURES["cpu_seconds"],
    "compute_flop": FIGURES["compute_flop"],
}


def held_out_tasks(count: int, seed: int) -> list[Task]:
    """Tasks of the test split, half of them easy and half of them hard."""
    return draw("test", MIX, count, random.Random(seed))


def specialist_tasks(count: int, seed: int) -> list[Task]:
    """Tasks of the test split of the specialist's own family."""
    return draw("test", SPECIALIST_KINDS, count, random.Random(seed))


def dealt(tasks: Sequence[Task], blocks: int = BLOCKS) -> list[list[Task]]:
    """Deal tasks into blocks, so that each has about as many of every kind."""
    by_kind = sorted(tasks, key=lambda task: task.kind)
    count = min(blocks, len(tasks))
    return [by_kind[first::count] for first in range(count)]


async def measure(
    gateway: Gateway, model: str, blocks: Blocks, on_answer: Callable[[], None]
) -> Measured:
    """Send every task to one model or route, one at a time, and read what each block took."""
    await gateway.ask(model, blocks[0][0].prompt)  # the engine is up before its time is taken
    parameters = {f"{PLACE}/{model.name}": model.parameters for model in ladder.models()}
    measured = []
    before = await gateway.read()
    for tasks in blocks:
        marks, attempts = await _answers(gateway, model, tasks, on_answer)
        after = await gateway.read_settled(before, attempts)
        used = after.since(before).only(parameters)
        measured.append(Block(tuple(marks), used.total(), used.compute_flop(parameters)))
        before = after
    return Measured(CASCADE_NAME if model == CASCADE_ROUTE else model, tuple(measured))


async def _answers(
    gateway: Gateway, model: str, tasks: Iterable[Task], on_answer: Callable[[], None]
) -> tuple[list[Mark], int]:
    """How tasks went, and how many attempts their answers took."""
    marks: list[Mark] = []
    attempts = 0
    for task in tasks:
        answer = await gateway.ask(model, task.prompt)
        marks.append(Mark(task, grade(task, answer.text), answer.model))
        attempts += answer.attempts
        on_answer()
    return marks, attempts


def summed_up(measured: Measured, seed: int) -> StrategyResult:
    """A strategy's totals with their intervals."""
    blocks = measured.blocks
    marks = [mark for block in blocks for mark in block.marks]
    right = sum(block.right for block in blocks)
    rng = random.Random(seed)
    return StrategyResult(
        name=measured.name,
        tasks=len(marks),
        accuracy=right / len(marks),
        calls=sum(block.used.calls for block in blocks),
        prompt_tokens=sum(block.used.prompt_tokens for block in blocks),
        completion_tokens=sum(block.used.completion_tokens for block in blocks),
        compute_flop=sum(block.compute_flop for block in blocks),
        cpu_seconds=sum(block.used.cpu_seconds for block in blocks),
        intervals={
            "accuracy": wilson(right, len(marks)),
            **{name: bootstrap(blocks, figure, rng) for name, figure in FIGURES.items()},
        },
        answered_by=dict(Counter(mark.answered_by for mark in marks)),
        by_half=_shares(marks, half_of),
        by_kind=_shares(marks, str),
    )


def compared(part: Measured, whole: Measured, seed: int) -> Comparison:
    """What a strategy reached and used, as shares of another's on the same blocks of tasks."""
    pairs = list(zip(part.blocks, whole.blocks, strict=True))
    shares = {name: _share_of(figure) for name, figure in COMPARED.items()}
    rng = random.Random(seed)
    return Comparison(
        part.name,
        whole.name,
        {name: share(pairs) for name, share in shares.items()},
        {name: bootstrap(pairs, share, rng) for name, share in shares.items()},
    )


def _share_of(figure: Figure) -> Callable[[Sequence[tuple[Block, Block]]], float]:
    """A figure of the first of each pair of blocks as a share of the second's."""

    def share(pairs: Sequence[tuple[Block, Block]]) -> float:
        whole = figure([second for _, second in pairs])
        return figure([first for first, _ in pairs]) / whole if whole else math.nan

    return share


def half_of(kind: Kind) -> str:
    """The half of the mix that a kind belongs to."""
    if kind in SPECIALIST_KINDS:
        return "specialist"
    return "easy" if kind in EASY else "hard"


def _shares(marks: Iterable[Mark], group_of: Callable[[Kind], str]) -> dict[str, float]:
    """Shares of right answers by group of kinds, in the order of kinds."""
    groups: dict[str, list[bool]] = {}
    for mark in sorted(marks, key=lambda mark: mark.task.kind):
        groups.setdefault(group_of(mark.task.kind), []).append(mark.right)
    return {group: sum(right) / len(right) for group, right in groups.items()}
