"""The demonstration's tasks are fair: right answers, and splits that never mix."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.demonstration.tasks import KINDS, Kind, Split, draw, grade, make, split_of

seeds = st.integers(0, 2**32)
kinds = st.sampled_from(KINDS)


@given(kinds, seeds)
def test_the_answer_is_right(kind: Kind, seed: int) -> None:
    """An answer, worked out again from the prompt alone, is the one the task states."""
    task = make(kind, random.Random(seed))
    family, *numbers = task.prompt.split()
    values = list(map(int, numbers))
    if family == "add":
        assert task.answer == str(sum(values))
        assert all(len(number) == kind.difficulty for number in numbers)
    else:
        assert task.answer == " ".join(map(str, sorted(values)))
        assert len(values) == kind.difficulty


@given(st.sampled_from(["train", "calibration", "test"]), seeds)
def test_a_draw_keeps_to_its_split(split: Split, seed: int) -> None:
    """Every drawn prompt belongs to the split, none comes twice, and the kinds take turns."""
    tasks = draw(split, KINDS, 28, random.Random(seed))
    assert {split_of(task.prompt) for task in tasks} == {split}
    assert len({task.prompt for task in tasks}) == len(tasks)
    assert [task.kind for task in tasks] == [*KINDS] * 4


def test_the_splits_have_their_shares() -> None:
    """Of 20,000 prompts about 80 % train; the tolerance is five standard deviations."""
    rng = random.Random(1)
    prompts = [make(KINDS[-1], rng).prompt for _ in range(20_000)]
    train = sum(split_of(prompt) == "train" for prompt in prompts) / len(prompts)
    share = 205 / 256
    assert abs(train - share) < 5 * (share * (1 - share) / len(prompts)) ** 0.5


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
