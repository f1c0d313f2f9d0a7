"""The demonstration's tasks: addition and sorting of graded difficulty, graded without doubt.

Pure: randomness is passed in. Which split an item belongs to is a hash of its prompt, so that no
model was ever trained on an item it is tested on, whoever draws them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

Split = Literal["train", "calibration", "test"]
Family = Literal["add", "sort"]

ADD_DIGITS = (2, 3, 4)
"""Sums of one digit are a hundred: too few to hold some out and expect the rest to teach them."""

SORT_ITEMS = (4, 8, 12, 16)

TRAIN_SHARE_OF_256 = 205
CALIBRATION_SHARE_OF_256 = 26
DRAWS_AT_MOST = 20_000


class Kind(NamedTuple):
    """A family at one difficulty: digits of the addends, or items to sort."""

    family: Family
    difficulty: int


KINDS: tuple[Kind, ...] = (
    *(Kind("add", digits) for digits in ADD_DIGITS),
    *(Kind("sort", items) for items in SORT_ITEMS),
)


class Task(NamedTuple):
    """A question, as a user would type it, and its only right answer."""

    kind: Kind
    prompt: str
    answer: str


def split_of(prompt: str) -> Split:
    """The split a prompt belongs to: four fifths train, a tenth each calibration and test."""
    first = hashlib.sha256(prompt.encode()).digest()[0]
    if first < TRAIN_SHARE_OF_256:
        return "train"
    if first < TRAIN_SHARE_OF_256 + CALIBRATION_SHARE_OF_256:
        return "calibration"
    return "test"


def make(kind: Kind, rng: random.Random) -> Task:
    """Make one task of a kind, of whatever split it falls into."""
    if kind.family == "add":
        low, high = 10 ** (kind.difficulty - 1), 10**kind.difficulty
        a, b = rng.randrange(low, high), rng.randrange(low, high)
        return Task(kind, f"add {a} {b}", str(a + b))
    digits = [rng.randrange(10) for _ in range(kind.difficulty)]
    return Task(
        kind,
        "sort " + " ".join(map(str, digits)),
        " ".join(map(str, sorted(digits))),
    )


def draw(split: Split, kinds: Sequence[Kind], count: int, rng: random.Random) -> list[Task]:
    """Draw ``count`` tasks of a split, the kinds taking turns; no prompt comes twice.

    Raises ValueError where a kind has fewer prompts than that.
    """
    tasks: list[Task] = []
    seen: set[str] = set()
    for position in range(count):
        task = _fresh(split, kinds[position % len(kinds)], seen, rng)
        seen.add(task.prompt)
        tasks.append(task)
    return tasks


def _fresh(split: Split, kind: Kind, seen: set[str], rng: random.Random) -> Task:
    for _ in range(DRAWS_AT_MOST):
        task = make(kind, rng)
        if split_of(task.prompt) == split and task.prompt not in seen:
            return task
    raise ValueError(f"there are not enough {split} tasks of {kind.family} {kind.difficulty}")


def grade(task: Task, text: str) -> bool:
    """Whether an answer is right: the exact text, white space around it aside."""
    return text.strip() == task.answer
