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

ADD_DIGITS = (1, 2, 3)
SORT_ITEMS = (4, 8, 12, 16)

TRAIN_SHARE_OF_256 = 205
CALIBRATION_SHARE_OF_256 = 26
DRAWS_PER_ITEM = 200


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
        low = 0 if kind.difficulty == 1 else 10 ** (kind.difficulty - 1)
        a, b = (rng.randrange(low, 10**kind.difficulty) for _ in range(2))
        return Task(kind, f"add {a} {b}", str(a + b))
    digits = [rng.randrange(10) for _ in range(kind.difficulty)]
    return Task(
        kind,
        "sort " + " ".join(map(str, digits)),
        " ".join(map(str, sorted(digits))),
    )


def draw(split: Split, kinds: Sequence[Kind], count: int, rng: random.Random) -> list[Task]:
    """Draw ``count`` tasks of a split, the kinds taking turns.

    No prompt comes twice, except where a kind has fewer than are asked for (one-digit sums).
    """
    tasks: list[Task] = []
    seen: set[str] = set()
    for position in range(count):
        kind = kinds[position % len(kinds)]
        for _ in range(DRAWS_PER_ITEM):
            task = make(kind, rng)
            if split_of(task.prompt) == split:
                fresh = task
                if task.prompt not in seen:
                    break
        seen.add(fresh.prompt)
        tasks.append(fresh)
    return tasks


def grade(task: Task, text: str) -> bool:
    """Whether an answer is right: the exact text, white space around it aside."""
    return text.strip() == task.answer
