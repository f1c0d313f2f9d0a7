"""What was measured is summed up rightly; the measuring itself runs against a scripted gateway."""

import random
from collections.abc import Sequence

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.openai_server import Answer, OpenAIServer, Request, completion, whole

from ecluse.demonstration import ladder
from ecluse.demonstration.tasks import MIX, Task, draw
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.demonstration import (
    Block,
    Mark,
    Measured,
    compared,
    dealt,
    half_of,
    held_out_tasks,
    measure,
    specialist_tasks,
    summed_up,
)
from ecluse.evaluation.meter import Used

TASKS = draw("test", MIX, 60, random.Random(1))
LARGEST = ladder.rungs()[-1]


def measured_of(seed: int) -> Measured:
    """A strategy's blocks over the same tasks, with figures of any kind."""
    rng = random.Random(seed)
    blocks = []
    for tasks in dealt(TASKS, 6):
        marks = tuple(Mark(task, rng.random() < 0.7, rng.choice("ab")) for task in tasks)
        used = Used(*(rng.randrange(1, 99) for _ in range(3)), rng.uniform(0.1, 9))
        blocks.append(Block(marks, used, rng.randrange(1, 10**12)))
    return Measured("x", tuple(blocks))


measurements = st.builds(measured_of, st.integers(0, 2**32))
few = settings(max_examples=15, deadline=None)  # each draws thousands of samples


@given(st.integers(1, 200), st.integers(1, 12))
def test_dealing_keeps_every_task_and_spreads_the_kinds(count: int, blocks: int) -> None:
    """No task is lost, sizes differ by one at most, and so do the tasks of one kind."""
    tasks = (TASKS * 4)[:count]
    hands = dealt(tasks, blocks)
    assert sorted(task for hand in hands for task in hand) == sorted(tasks)
    assert max(map(len, hands)) - min(map(len, hands)) <= 1
    for kind in {task.kind for task in tasks}:
        shares = [sum(task.kind == kind for task in hand) for hand in hands]
        assert max(shares) - min(shares) <= 1


@few
@given(measurements, st.integers(0, 99))
def test_totals_are_the_sums_of_the_blocks(measured: Measured, seed: int) -> None:
    """And every figure lies in its interval; the same seed gives the same intervals."""
    result = summed_up(measured, seed)
    marks = [mark for block in measured.blocks for mark in block.marks]
    assert result.tasks == len(TASKS) == len(marks)
    assert result.accuracy == sum(mark.right for mark in marks) / len(marks)
    assert result.calls == sum(block.used.calls for block in measured.blocks)
    assert result.compute_flop == sum(block.compute_flop for block in measured.blocks)
    assert sum(result.answered_by.values()) == len(marks)
    for name, (low, high) in result.intervals.items():
        assert low <= high
        if name == "accuracy":
            assert low <= result.accuracy <= high
    assert result == summed_up(measured, seed)
    halves = [half_of(mark.task.kind) for mark in marks]
    right = sum(share * halves.count(half) for half, share in result.by_half.items())
    assert round(right) == sum(mark.right for mark in marks)
    assert set(result.by_kind) == {str(task.kind) for task in TASKS}


@few
@given(measurements, st.integers(0, 99))
def test_a_strategy_is_all_of_itself(measured: Measured, seed: int) -> None:
    """Compared with itself each share is one, and so is each end of its interval."""
    comparison = compared(measured, measured, seed)
    if comparison.shares["accuracy"] == 1:
        assert set(comparison.shares.values()) == {1.0}
    assert comparison.intervals["cpu_seconds"] == (1.0, 1.0)
    assert comparison.intervals["compute_flop"] == (1.0, 1.0)


@few
@given(measurements, measurements)
def test_a_comparison_is_of_the_same_tasks(part: Measured, whole: Measured) -> None:
    """Shares are those of the totals."""
    comparison = compared(part, whole, 1)
    first, second = summed_up(part, 1), summed_up(whole, 1)
    share = comparison.shares["compute_flop"]
    assert share == first.compute_flop / second.compute_flop
    low, high = comparison.intervals["compute_flop"]
    assert low <= high


def test_the_same_seed_draws_the_same_held_out_tasks() -> None:
    """And another seed others; the specialist's tasks are its own."""
    assert held_out_tasks(40, 1) == held_out_tasks(40, 1) != held_out_tasks(40, 2)
    halves = [half_of(task.kind) for task in held_out_tasks(40, 1)]
    assert halves.count("easy") == halves.count("hard") == 20
    assert {half_of(task.kind) for task in specialist_tasks(9, 1)} == {"specialist"}


class ScriptedGateway:
    """Answers every second question rightly, after two attempts; counts them a moment later."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._answers = {task.prompt: task.answer for task in tasks}
        self._questions = 0
        self._told = 0

    def __call__(self, request: Request) -> Answer:
        if request.path == "/metrics":
            self._told = min(2 * self._questions, self._told + 1)
            return whole(self._metrics().encode(), content_type="text/plain")
        prompt = request.json()["messages"][0]["content"]
        self._questions += 1
        text = self._answers[prompt] if self._questions % 2 else "no"
        told = {"x_ecluse_model": "demo-large", "x_ecluse_attempts": "2"}
        return list(whole(completion(text), 200, **told))

    def _metrics(self) -> str:
        deployment = f'deployment="demonstration/{LARGEST.name}"'
        return (
            "# TYPE ecluse_attempts counter\n"
            f'ecluse_attempts_total{{{deployment},outcome="answered"}} {self._told}\n'
            'ecluse_attempts_total{deployment="other/x",outcome="answered"} 0\n'
            "# TYPE ecluse_tokens counter\n"
            f'ecluse_tokens_total{{{deployment},kind="prompt",source="reported"}} {self._told}\n'
            "# TYPE ecluse_engine_cpu_seconds counter\n"
            f"ecluse_engine_cpu_seconds_total{{{deployment}}} {self._told / 4}\n"
        )


async def test_a_measurement_counts_every_attempt() -> None:
    """Also those that the gateway counts after the answer, and none of the warm-up's twice."""
    tasks = TASKS[:20]
    ticks: list[None] = []
    async with (
        OpenAIServer(ScriptedGateway(tasks)) as server,
        aiohttp.ClientSession() as session,
    ):
        gateway = Gateway(session, server.url.removesuffix("/v1"), "key")
        measured = await measure(gateway, "demo", dealt(tasks, 4), lambda: ticks.append(None))
    result = summed_up(measured, 1)
    assert result.name == "auto"
    assert len(ticks) == result.tasks == 20
    assert result.accuracy == 0.5
    assert result.answered_by == {"demo-large": 20}
    assert len(measured.blocks) == 4
    assert result.calls == 40
    assert result.compute_flop == 2 * LARGEST.parameters * result.prompt_tokens
    assert result.cpu_seconds == result.calls / 4
