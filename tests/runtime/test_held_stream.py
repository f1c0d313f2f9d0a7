"""Streams that may stay silent at first: silence is told, errors and closing pass through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from ecluse.runtime.held_stream import silences


class Source:
    """A stream of pauses and numbers that notes how it ended."""

    def __init__(self, *steps: float | str | Exception) -> None:
        self._steps = steps
        self.ended = ""

    async def stream(self) -> AsyncGenerator[str, None]:
        """Yield texts, wait for numbers, raise exceptions."""
        try:
            for step in self._steps:
                if isinstance(step, str):
                    yield step
                elif isinstance(step, Exception):
                    raise step
                else:
                    await asyncio.sleep(step)
            self.ended = "whole"
        except BaseException as error:
            self.ended = type(error).__name__
            raise


async def told(source: Source, silent_s: float, every_s: float) -> list[str | None]:
    """Everything that comes out."""
    return [item async for item in silences(source.stream(), silent_s, every_s)]


async def test_a_prompt_stream_passes_unchanged() -> None:
    """No silence is told where there is none, nor between later items."""
    source = Source("a", 0.05, "b", "c")
    assert await told(source, 0.01, 0.01) == ["a", "b", "c"]
    assert source.ended == "whole"


async def test_silence_before_the_first_item_is_told() -> None:
    """First after the silent time, then at each interval."""
    now_s = asyncio.get_running_loop().time
    told_at = [(item, now_s()) async for item in silences(Source(9, "a", "b").stream(), 5, 2)]
    assert told_at == [(None, 5), (None, 7), ("a", 9), ("b", 9)]
    assert await told(Source(9, "a"), 10, 1) == ["a"]


@pytest.mark.parametrize("steps", [(), (0.05,)])
async def test_an_empty_stream(steps: tuple[float, ...]) -> None:
    """Ends, having told its silence at most."""
    assert not any(await told(Source(*steps), 0.01, 1))


@pytest.mark.parametrize("before", [(), (0.05,), ("a",), (0.05, "a")])
async def test_errors_pass_through(before: tuple[float | str, ...]) -> None:
    """At once, after a silence, and after items."""
    source = Source(*before, ValueError("gone"))
    with pytest.raises(ValueError, match="gone"):
        await told(source, 0.01, 1)
    assert source.ended == "ValueError"


async def test_closing_while_it_is_silent() -> None:
    """The stream is cancelled where it waits, and is over when closing returns."""
    source = Source(60, "a")
    held = silences(source.stream(), 0.01, 0.01)
    assert await anext(held) is None
    await held.aclose()
    assert source.ended == "CancelledError"


async def test_closing_between_items() -> None:
    """The stream is closed where it stands."""
    source = Source("a", "b")
    held = silences(source.stream(), 1, 1)
    assert await anext(held) == "a"
    await held.aclose()
    assert source.ended == "GeneratorExit"


@pytest.mark.parametrize("steps", [(60, "a"), ("a", 60)])
async def test_cancelling_the_reader(steps: tuple[float | str, ...]) -> None:
    """Before the first item and after it: the stream ends with its reader."""
    source = Source(*steps)
    reading = asyncio.create_task(told(source, 0.01, 0.01))
    await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait((reading,))
    assert reading.cancelled()
    assert source.ended == "CancelledError"


async def test_an_error_that_comes_while_closing_is_not_the_readers() -> None:
    """Nobody is left to hear it, and asyncio does not complain of it either."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    source = Source(0.03, ValueError("gone"))
    held = silences(source.stream(), 0.01, 10)
    assert await anext(held) is None
    await asyncio.sleep(0.05)
    await held.aclose()
    assert source.ended == "ValueError"
    del held, source
    await asyncio.sleep(0)
    assert complaints == []
