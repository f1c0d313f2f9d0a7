"""Sends held-out tasks through each model alone and through the cascade, over real HTTP."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec

from ecluse.demonstration.tasks import KINDS, Task, draw, grade
from ecluse.domain.errors import UpstreamFailed
from ecluse.evaluation.intervals import wilson
from ecluse.evaluation.meter import Reading, read_metrics

CASCADE_ROUTE = "demo"
CASCADE_NAME = "auto"
ANSWER_TOKENS = 48
CONCURRENCY = 2


class StrategyResult(msgspec.Struct, frozen=True):
    """What one strategy did with all tasks.

    ``calls`` counts every attempt, ``cpu_seconds`` the engines' user and system time,
    ``answered_by`` whose answer was accepted, ``by_kind`` the right answers of each kind of task.
    """

    name: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    tasks: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cpu_seconds: float
    answered_by: dict[str, int]
    by_kind: dict[str, float]


class Gateway:
    """A running gateway, as a client sees it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, model: str, prompt: str) -> tuple[str, str]:
        """Ask one question; return the answer and the model that gave it."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
            # Else a strategy would profit from prompts that an earlier one has had computed.
            "cache_prompt": False,
        }
        async with self._post(body) as response:
            answer = await _json(response)
            text = answer["choices"][0]["message"]["content"] or ""
            return text, response.headers["x-ecluse-model"]

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a chat request and return the answer's JSON. Raises UpstreamFailed."""
        async with self._post(body) as response:
            return await _json(response)

    def _post(self, body: dict[str, Any]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url = f"{self._url}/v1/chat/completions"
        return self._session.post(url, json=body, headers=self._headers)

    async def read(self) -> Reading:
        """What it has used so far."""
        async with self._session.get(f"{self._url}/metrics", headers=self._headers) as response:
            response.raise_for_status()
            return read_metrics(await response.text())


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    if response.status != 200:
        raise UpstreamFailed(f"The gateway said {response.status}: {await response.text()}")
    answer: dict[str, Any] = await response.json()
    return answer


def held_out_tasks(count: int, seed: int) -> list[Task]:
    """Tasks of the test split, every kind equally often."""
    return draw("test", KINDS, count, random.Random(seed))


async def measure(
    gateway: Gateway, model: str, tasks: Sequence[Task], on_answer: Callable[[], None]
) -> StrategyResult:
    """Send every task to one model or route and sum up what it took."""
    await gateway.ask(model, "add 1 1")  # the engine is up before its time is taken
    before = await gateway.read()
    marks: list[tuple[Task, bool, str]] = []
    waiting = list(reversed(tasks))

    async def work() -> None:
        while waiting:
            task = waiting.pop()
            text, answered_by = await gateway.ask(model, task.prompt)
            marks.append((task, grade(task, text), answered_by))
            on_answer()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    used = (await gateway.read()).since(before)
    return _result(CASCADE_NAME if model == CASCADE_ROUTE else model, marks, used)


def _result(name: str, marks: Sequence[tuple[Task, bool, str]], used: Reading) -> StrategyResult:
    right = sum(mark for _, mark, _ in marks)
    low, high = wilson(right, len(marks))
    return StrategyResult(
        name=name,
        accuracy=right / len(marks),
        accuracy_low=low,
        accuracy_high=high,
        tasks=len(marks),
        calls=used.calls,
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        cpu_seconds=used.cpu_seconds,
        answered_by=dict(Counter(model for _, _, model in marks)),
        by_kind=_by_kind(marks),
    )


def _by_kind(marks: Sequence[tuple[Task, bool, str]]) -> dict[str, float]:
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for task, mark, _ in marks:
        kind = f"{task.kind.family} {task.kind.difficulty}"
        asked[kind] += 1
        right[kind] += mark
    return {kind: right[kind] / asked[kind] for kind in sorted(asked, key=_natural)}


def _natural(kind: str) -> tuple[str, int]:
    family, _, difficulty = kind.partition(" ")
    return family, int(difficulty)
