"""The upstream without a model does what clients ask of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecluse.adapters.upstreams.scripted import Script, ScriptedUpstream
from ecluse.domain.values.answer import Event
from ecluse.domain.values.request import Call

REPLY = "one two three, four"


@pytest.fixture
def upstream() -> ScriptedUpstream:
    """One that says four words."""
    return ScriptedUpstream("words", Script(REPLY))


async def events_of(upstream: ScriptedUpstream, *, stream: bool, **asked: object) -> list[Event]:
    """What it answers to a request."""
    body = {"messages": [{"role": "user", "content": "count"}]} | asked
    call = Call("words", msgspec.json.encode(body), stream, ("count",))
    return [event async for events in upstream.attempt(call) for event in events]


def told(events: list[Event]) -> dict[int, tuple[str, str]]:
    """Each choice's text and end, as a client reads them in the bytes."""
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for event in events:
        for choice in msgspec.json.decode(event.raw)["choices"]:
            said: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
            index = choice["index"]
            texts[index] = texts.get(index, "") + said.get("content", "")
            if choice["finish_reason"] is not None:
                assert index not in ends
                ends[index] = choice["finish_reason"]
    return {index: (text, ends[index]) for index, text in texts.items()}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (REPLY, "stop")),
        ({"n": 3}, (REPLY, "stop")),
        ({"max_tokens": 2, "n": 2}, ("one two ", "length")),
        ({"max_completion_tokens": 1, "max_tokens": 3}, ("one ", "length")),
        ({"max_tokens": 4}, (REPLY, "stop")),
        ({"stop": ","}, ("one two three", "stop")),
        ({"stop": ["four", " two"]}, ("one", "stop")),
        ({"stop": "one"}, ("", "stop")),
        ({"stop": ["", "five"]}, (REPLY, "stop")),
    ],
    ids=str,
)
async def test_limits_and_choices_are_heeded(
    upstream: ScriptedUpstream, stream: bool, asked: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Streamed or not; what was said is what is counted."""
    events = await events_of(upstream, stream=stream, **asked)
    choices = asked.get("n", 1)
    assert told(events) == dict.fromkeys(range(choices), expected)
    (usage,) = [event.usage for event in events if event.usage is not None]
    assert usage.completion_tokens == len(expected[0].split()) * choices
    for index in range(choices):
        pieces = [p for event in events for p in event.choices if p.index == index]
        assert "".join(piece.text for piece in pieces) == expected[0]


async def test_answers_can_be_told_apart(upstream: ScriptedUpstream) -> None:
    """An id each, the same in all of a stream's chunks, and a time."""
    answers = [await events_of(upstream, stream=stream) for stream in (True, False, True)]
    ids = [{msgspec.json.decode(event.raw)["id"] for event in events} for events in answers]
    assert all(len(one) == 1 for one in ids)
    assert len(set.union(*ids)) == 3
    assert msgspec.json.decode(answers[1][0].raw)["created"] > 1_700_000_000
