"""The demonstration's tasks are fair: right answers, and splits that never mix."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.demonstration.tasks import (
    EASY,
    HARD,
    MIX,
    NUMBERS_COUNTED,
    SPECIALIST_KINDS,
    Kind,
    Split,
    draw,
    grade,
    make,
    mixed,
    number_in_words,
    split_of,
)

KINDS = tuple(dict.fromkeys((*EASY, *HARD, *SPECIALIST_KINDS, Kind("count", 7))))
seeds = st.integers(0, 2**32)
kinds = st.sampled_from(KINDS)


def value_of(words: str) -> int:
    """The number that English words mean, read from left to right."""
    units = {number_in_words(number): number for number in (*range(20), *range(20, 100, 10))}
    total = 0
    for word in words.replace("-", " ").split():
        if word == "hundred":
            total += total % 1000 % 100 * 99
        elif word == "thousand":
            total *= 1000
        else:
            total += units[word]
    return total


@given(st.integers(0, 9_999))
def test_numbers_in_words(number: int) -> None:
    """Read again by other rules than those they were written by, they mean the same."""
    assert value_of(number_in_words(number)) == number


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "zero"), (40, "forty"), (123, "one hundred twenty-three"), (1012, "one thousand twelve")],
)
def test_numbers_as_people_write_them(number: int, words: str) -> None:
    """A few, by hand."""
    assert number_in_words(number) == words


@given(kinds, seeds)
def test_the_answer_is_right(kind: Kind, seed: int) -> None:
    """An answer, worked out again from the prompt alone, is the one the task states."""
    task = make(kind, random.Random(seed))
    family, *words = task.prompt.split()
    match kind.family:
        case "add":
            assert task.answer == str(sum(map(int, words)))
            assert all(len(number) == kind.difficulty for number in words)
        case "sort":
            assert task.answer == " ".join(sorted(words))
            assert len(words) == kind.difficulty
        case "reverse":
            assert words == ["".join(reversed(task.answer))]
            assert len(task.answer) == kind.difficulty
        case "chain":
            assert words[2:] == ["then", "sort"]
            assert list(task.answer) == sorted(str(int(words[0]) + int(words[1])))
        case "count":
            numbers = [value_of(number) for number in task.answer.split(", ")]
            assert len(numbers) == NUMBERS_COUNTED
            assert f"{numbers[0]} to {numbers[-1]} by {kind.difficulty}" == " ".join(words)
            assert all(b - a == kind.difficulty for a, b in pairwise(numbers))
        case "multiply":
            assert int(task.answer) == int(words[0]) * int(words[1])
            assert len(words[0]) == kind.difficulty
    assert family in (kind.family, "add")


@given(st.sampled_from(["train", "calibration", "test"]), seeds)
def test_a_draw_keeps_to_its_split(split: Split, seed: int) -> None:
    """Every drawn prompt belongs to the split, none comes twice, and the kinds take turns."""
    tasks = draw(split, MIX[:30], 60, random.Random(seed))
    assert {split_of(task.prompt) for task in tasks} == {split}
    assert len({task.prompt for task in tasks}) == len(tasks)
    assert [task.kind for task in tasks] == [*MIX[:30]] * 2


@given(
    st.lists(kinds, min_size=1, max_size=6, unique=True),
    st.lists(kinds, min_size=1, max_size=6, unique=True),
)
def test_the_halves_weigh_the_same(easy: list[Kind], hard: list[Kind]) -> None:
    """Every second task is hard, and within a half every kind comes equally often."""
    mix = mixed(easy, hard)
    for half, members in ((mix[::2], easy), (mix[1::2], hard)):
        assert {half.count(kind) for kind in members} == {len(half) // len(members)}
        assert set(half) == set(members)


def test_the_mix_leaves_the_specialists_task_out() -> None:
    """No kind is in two halves, and multiply is the specialist's."""
    assert not set(EASY) & set(HARD)
    assert not set(MIX) & set(SPECIALIST_KINDS)
    assert {kind.family for kind in SPECIALIST_KINDS} == {"multiply"}


def test_the_splits_have_their_shares() -> None:
    """Of 20,000 prompts about 80 % train; the tolerance is five standard deviations."""
    rng = random.Random(1)
    prompts = [make(Kind("add", 8), rng).prompt for _ in range(20_000)]
    train = sum(split_of(prompt) == "train" for prompt in prompts) / len(prompts)
    share = 205 / 256
    assert abs(train - share) < 5 * (share * (1 - share) / len(prompts)) ** 0.5


def test_there_are_enough_tasks_to_fit_and_to_measure_on() -> None:
    """Two thousand of the calibration split and as many held-out ones, none of them twice."""
    for split in ("calibration", "test"):
        assert len(draw(split, MIX, 2_000, random.Random(1))) == 2_000


def test_a_kind_that_runs_out_says_so() -> None:
    """Asking for more items than a kind has is a ValueError, not an endless search."""
    with pytest.raises(ValueError, match="not enough test tasks of add 1"):
        draw("test", [Kind("add", 1)], 200, random.Random(1))


def test_grading_is_exact() -> None:
    """White space around an answer is forgiven, anything else is wrong."""
    task = make(Kind("add", 2), random.Random(1))
    assert grade(task, f" {task.answer}\n")
    assert not grade(task, f"{task.answer}0")
    assert not grade(task, "")
