"""The demonstration's tasks: six families of graded difficulty, each answer graded without doubt.

Pure: randomness is passed in. Which split an item belongs to is a hash of its prompt, so that no
model was ever trained on an item it is tested on, whoever draws them.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

Split = Literal["train", "calibration", "test"]
Family = Literal["add", "sort", "reverse", "chain", "count", "multiply"]

TRAIN_SHARE_OF_256 = 205
CALIBRATION_SHARE_OF_256 = 26
DRAWS_AT_MOST = 20_000

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
NUMBERS_COUNTED = 60
"""Enough for an answer of at least 300 tokens."""

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


class Kind(NamedTuple):
    """A family at one difficulty: digits, items, letters, or the step of a count."""

    family: Family
    difficulty: int

    def __str__(self) -> str:
        return f"{self.family} {self.difficulty}"


EASY: tuple[Kind, ...] = (
    *(Kind("add", digits) for digits in (2, 3)),
    Kind("sort", 4),
    Kind("reverse", 5),
    Kind("chain", 2),
)
HARD: tuple[Kind, ...] = (
    Kind("add", 4),
    *(Kind("reverse", letters) for letters in (7, 9, 11, 15)),
    Kind("chain", 3),
)
SPECIALIST_KINDS = tuple(Kind("multiply", digits) for digits in (2, 3, 4))
"""What the specialist was made for; the mix has none of it."""


def mixed(easy: Sequence[Kind], hard: Sequence[Kind]) -> tuple[Kind, ...]:
    """The two halves in turns, until each of their kinds has come equally often."""
    length = math.lcm(len(easy), len(hard))
    pairs = zip(itertools.cycle(easy), itertools.cycle(hard), strict=False)
    return tuple(itertools.chain.from_iterable(itertools.islice(pairs, length)))


MIX = mixed(EASY, HARD)
"""The demonstration's questions: one half easy, one half hard."""


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
    prompt, answer = _MAKERS[kind.family](kind.difficulty, rng)
    return Task(kind, prompt, answer)


def number_in_words(number: int) -> str:
    """English words of a number from 0 to 9,999, as in ``one hundred twenty-three``."""
    if number >= 1000:
        rest = f" {number_in_words(number % 1000)}" if number % 1000 else ""
        return f"{ONES[number // 1000]} thousand{rest}"
    if number >= 100:
        rest = f" {number_in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    if number >= 20:
        ones = f"-{ONES[number % 10]}" if number % 10 else ""
        return f"{TENS[number // 10 - 2]}{ones}"
    return ONES[number]


def _number(digits: int, rng: random.Random) -> int:
    return rng.randrange(10 ** (digits - 1), 10**digits)


def _add(digits: int, rng: random.Random) -> tuple[str, str]:
    a, b = _number(digits, rng), _number(digits, rng)
    return f"add {a} {b}", str(a + b)


def _sort(items: int, rng: random.Random) -> tuple[str, str]:
    digits = [str(rng.randrange(10)) for _ in range(items)]
    return "sort " + " ".join(digits), " ".join(sorted(digits))


def _reverse(letters: int, rng: random.Random) -> tuple[str, str]:
    word = "".join(rng.choice((CONSONANTS, VOWELS)[i % 2]) for i in range(letters))
    return f"reverse {word}", word[::-1]


def _chain(digits: int, rng: random.Random) -> tuple[str, str]:
    a, b = _number(digits, rng), _number(digits, rng)
    return f"add {a} {b} then sort", "".join(sorted(str(a + b)))


def _count(step: int, rng: random.Random) -> tuple[str, str]:
    first = rng.randrange(1, 1000)
    numbers = range(first, first + step * NUMBERS_COUNTED, step)
    prompt = f"count {numbers[0]} to {numbers[-1]} by {step}"
    return prompt, ", ".join(map(number_in_words, numbers))


def _multiply(digits: int, rng: random.Random) -> tuple[str, str]:
    a, b = _number(digits, rng), rng.randrange(2, 10)
    return f"multiply {a} {b}", str(a * b)


_MAKERS: Mapping[Family, Callable[[int, random.Random], tuple[str, str]]] = {
    "add": _add,
    "sort": _sort,
    "reverse": _reverse,
    "chain": _chain,
    "count": _count,
    "multiply": _multiply,
}


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
    raise ValueError(f"there are not enough {split} tasks of {kind}")


def grade(task: Task, text: str) -> bool:
    """Whether an answer is right: the exact text, white space around it aside."""
    return text.strip() == task.answer
