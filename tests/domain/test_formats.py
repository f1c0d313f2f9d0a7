"""Whether a whole answer has the form that was asked for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.adapters.schemas import fits
from ecluse.adapters.upstreams.openai_wire import AnswerReader
from ecluse.api.chat_request import read_chat_request
from ecluse.domain.routing.formats import is_well_formed
from ecluse.domain.values.answer import ChoicePiece, Event, Events, ToolCallPiece
from ecluse.domain.values.request import AnswerFormat

SCHEMA = b'{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}}}'
FREE = AnswerFormat()
JSON_OBJECT = AnswerFormat(json_object=True)
BY_SCHEMA = AnswerFormat(schema=SCHEMA, json_object=True)
TOOLS = AnswerFormat(tools={"add": SCHEMA, "now": None})
MUST_CALL = AnswerFormat(tools={"add": SCHEMA, "now": None}, must_call=True)
JSON_OR_TOOLS = AnswerFormat(schema=SCHEMA, tools={"add": SCHEMA})

CONTENTS = ['{"a":1}', '{"a":"x"}', "[1]", "", "Ünïcode 🙂", '{"a":', ' {"a": 1}\n']
CALLS = st.tuples(
    st.sampled_from(["add", "now", "other", ""]),
    st.sampled_from(['{"a":1}', '{"a":null}', "{}", "", "[]", '{"a":1', "Ünïcode"]),
)
CHOICES = st.lists(
    st.tuples(st.sampled_from(CONTENTS), st.lists(CALLS, max_size=3)), min_size=1, max_size=3
)
FORMATS = st.sampled_from([FREE, JSON_OBJECT, BY_SCHEMA, TOOLS, MUST_CALL, JSON_OR_TOOLS])


def whole(*choices: tuple[str, Sequence[tuple[str, str]]]) -> Events:
    """An answer that came at once: each choice's content and calls."""
    pieces = tuple(
        ChoicePiece(
            index,
            content=content,
            tool_calls=tuple(ToolCallPiece(i, *call) for i, call in enumerate(calls)),
        )
        for index, (content, calls) in enumerate(choices)
    )
    return (Event(b"", pieces),)


def suits(wanted: AnswerFormat, content: str = "", *calls: tuple[str, str]) -> bool:
    """Whether the only choice is well-formed."""
    return is_well_formed(wanted, whole((content, calls)), fits)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Any way to cut a text into pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    bounds = [0, *places, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


@st.composite
def streamed(draw: st.DrawFn, choices: list[tuple[str, list[tuple[str, str]]]]) -> Events:
    """The answer in any pieces, those of different choices and calls in any order."""
    queues: list[list[ChoicePiece]] = []
    for index, (content, calls) in enumerate(choices):
        queues.append([ChoicePiece(index, content=piece) for piece in draw(cut(content))])
        for number, (name, arguments) in enumerate(calls):
            first = ToolCallPiece(number, name)
            rest = [ToolCallPiece(number, "", piece) for piece in draw(cut(arguments))]
            queues.append([ChoicePiece(index, tool_calls=(call,)) for call in (first, *rest)])
    order = draw(st.permutations([n for n, queue in enumerate(queues) for _ in queue]))
    pieces = [queues[n].pop(0) for n in order]
    together = draw(st.integers(1, 3))
    grouped = [pieces[i : i + together] for i in range(0, len(pieces), together)]
    return tuple(Event(b"", tuple(group)) for group in grouped)


@given(data=st.data(), wanted=FORMATS, choices=CHOICES)
def test_pieces_do_not_matter(
    data: st.DataObject, wanted: AnswerFormat, choices: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    """However a stream is cut, the verdict is that of the whole answer."""
    expected = is_well_formed(wanted, whole(*choices), fits)
    assert is_well_formed(wanted, data.draw(streamed(choices)), fits) == expected


@given(wanted=FORMATS, choices=CHOICES)
def test_every_choice_counts(
    wanted: AnswerFormat, choices: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    """One bad choice spoils the answer."""
    each = [is_well_formed(wanted, whole(choice), fits) for choice in choices]
    assert is_well_formed(wanted, whole(*choices), fits) == all(each)


@given(choices=CHOICES)
def test_a_free_answer_may_be_anything(choices: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """And no schema is looked at."""

    def never(schema: bytes, text: bytes) -> bool:
        raise AssertionError

    assert is_well_formed(FREE, whole(*choices), never)


@pytest.mark.parametrize(
    ("content", "is_object", "by_schema"),
    [
        ('{"a":1}', True, True),
        (' {"a": 1}\n', True, True),
        ('{"a":1,"b":"🙂"}', True, True),
        ("{}", True, False),
        ('{"a":"1"}', True, False),
        ("[1]", False, False),
        ("1", False, False),
        ("null", False, False),
        ('"{}"', False, False),
        ("", False, False),
        ('{"a":1', False, False),
        ('{"a":1} and more', False, False),
        ('```json\n{"a":1}\n```', False, False),
        ("{'a':1}", False, False),
        ('{"a":NaN}', False, False),
        ('{"a":' * 5_000, False, False),
        ('{"a":' + "[" * 5_000 + "]" * 5_000 + "}", False, False),
        ('{"a":"\ud800"}', True, False),
    ],
)
def test_json(content: str, is_object: bool, by_schema: bool) -> None:
    """Nothing but one JSON object, and of the schema where there is one."""
    assert suits(JSON_OBJECT, content) is is_object
    assert suits(BY_SCHEMA, content) is by_schema


def test_a_schema_may_want_something_else_than_an_object() -> None:
    """What it says goes."""
    wanted = AnswerFormat(schema=b'{"type":"array"}', json_object=True)
    assert suits(wanted, "[1]")
    assert not suits(wanted, "{}")


@pytest.mark.parametrize(
    ("calls", "possible"),
    [
        ([("add", '{"a":1}')], True),
        ([("add", '{"a":"x"}')], False),
        ([("add", "")], False),
        ([("add", '{"a":1')], False),
        ([("now", "{}")], True),
        ([("now", "")], True),
        ([("now", "[]")], False),
        ([("now", "now")], False),
        ([("other", "{}")], False),
        ([("", "{}")], False),
        ([("add", '{"a":1}'), ("now", "")], True),
        ([("add", '{"a":1}'), ("add", "{}")], False),
    ],
)
def test_calls(calls: list[tuple[str, str]], possible: bool) -> None:
    """Known tools with arguments that fit; none is an empty object."""
    for wanted in (TOOLS, MUST_CALL):
        assert suits(wanted, "", *calls) is possible
        assert suits(wanted, "Let me see.", *calls) is possible


def test_a_text_instead_of_a_call() -> None:
    """Will do unless one had to be called."""
    assert suits(TOOLS, "I know that already.")
    assert not suits(MUST_CALL, "I know that already.")


def test_json_or_a_call() -> None:
    """With both asked for, either will do, and a bad call is not mended by good JSON."""
    assert suits(JSON_OR_TOOLS, '{"a":1}')
    assert suits(JSON_OR_TOOLS, "", ("add", '{"a":1}'))
    assert not suits(JSON_OR_TOOLS, "a text")
    assert not suits(JSON_OR_TOOLS, '{"a":1}', ("add", "{}"))


def test_schemas_that_cannot_be_used_exclude_nothing() -> None:
    """The client's mistake is no reason to rise."""
    assert suits(AnswerFormat(schema=b'{"type":"nonsense"}'), "[1]")
    assert not suits(AnswerFormat(schema=b'{"type":"nonsense"}'), "no JSON")


def test_from_the_wire_to_the_verdict() -> None:
    """A request's tools and an upstream's answer as they come."""
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "add", "parameters": json.loads(SCHEMA)},
    }
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}
    request = read_chat_request(json.dumps(body | {"tool_choice": "required"}).encode())
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    for message, good in (({"tool_calls": [call]}, True), ({"content": "one"}, False)):
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        event = AnswerReader().read(json.dumps(answer).encode())
        assert event is not None
        assert is_well_formed(request.format, (event,), fits) is good
