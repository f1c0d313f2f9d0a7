"""A chat request from the wire: anything may come, only InvalidRequest may come of it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.api.chat_request import read_chat_request
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.values.request import ChatRequest

PLAIN: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
RICH: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "é"},
                {"type": "image_url", "image_url": {"url": "data:"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "max_completion_tokens": 7,
    "n": 2,
    "stop": ["a"],
    "seed": 1,
    "temperature": 0.5,
    "top_p": 1,
    "logprobs": True,
    "top_logprobs": 3,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "vendor": {"x": [1, 2.50]},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with some of its members lost, doubled or replaced by anything."""
    if draw(st.integers(0, 15)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        kept = {name: draw(mutated(inner)) for name, inner in value.items()}
        lost = draw(st.sets(st.sampled_from([*value, ""]), max_size=2))
        return {name: inner for name, inner in kept.items() if name not in lost}
    if isinstance(value, list):
        return [draw(mutated(inner)) for inner in value * draw(st.integers(0, 2))]
    return value


def read(body: object) -> ChatRequest:
    """A body as it comes in."""
    return read_chat_request(json.dumps(body).encode())


def used_up(body: bytes) -> None:
    """Read it and look at everything. Raises nothing but what a test should see."""
    try:
        request = read_chat_request(body)
    except InvalidRequest as error:
        refused = error
    else:
        assert request.prompt_bytes >= 0
        assert request.prompt_words >= 0
        assert request.route
        assert request.choices >= 1
        return
    assert refused.http_status == 400
    assert len(str(refused)) < 500 + 2 * len(body)


@given(st.binary(max_size=60))
def test_arbitrary_bytes(body: bytes) -> None:
    """Whatever comes, it is a request or it is invalid."""
    used_up(body)


@given(mutated(RICH))
def test_mutated_requests(value: object) -> None:
    """The same of what is nearly a request."""
    used_up(json.dumps(value).encode())


@given(st.data())
def test_broken_bytes_of_a_request(data: st.DataObject) -> None:
    """The same of a request with some bytes replaced."""
    body = bytearray(json.dumps(RICH, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    used_up(bytes(body))


def test_what_decides_is_read() -> None:
    """Each field that decides, and the whole body as it came."""
    request = read(RICH)
    assert request.route == "m"
    assert request.texts == ("be brief", "é", "42")
    assert (request.prompt_bytes, request.prompt_words) == (12, 4)
    assert request.stream
    assert request.wants_stream_usage
    assert request.wants_logprobs
    assert request.has_images
    assert request.answer_limit_tokens == 7
    assert request.choices == 2
    assert list(request.fields) == list(RICH)
    assert bytes(request.fields["vendor"]) == b'{"x": [1, 2.5]}'


def test_what_is_not_said_is_not_wanted() -> None:
    """The API's defaults; null means the same as nothing."""
    nulls = {name: None for name in RICH if name not in ("model", "messages")}
    for body in (PLAIN, PLAIN | nulls):
        request = read(body)
        assert not request.stream
        assert not request.wants_stream_usage
        assert not request.wants_logprobs
        assert not request.has_images
        assert request.answer_limit_tokens is None
        assert request.choices == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m" * 1_001}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": 1}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}, {"content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 129}, "n"),
        ({"stop": [1]}, "stop[0]"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    """By its path, in the message and in ``param``."""
    with pytest.raises(InvalidRequest) as caught:
        read(PLAIN | change)
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param}: ")


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    """What is required, and which of it is not there."""
    with pytest.raises(InvalidRequest, match=f"{missing}: it is required") as caught:
        read({name: value for name, value in PLAIN.items() if name != missing})
    assert caught.value.param == missing


def test_unknown_types_of_parts_and_tools_pass() -> None:
    """What others invent is theirs to check."""
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    read(PLAIN | {"messages": [{"role": "user", "content": [audio]}]})
    read(PLAIN | {"tools": [{"type": "custom", "custom": {"name": "f"}}]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": 1}, "expected `string`, got `integer`"),
        ({"temperature": "hot"}, "expected `number | null`, got `string`"),
        ({"stream": []}, "expected `boolean | null`, got `array`"),
        ({"model": ""}, "expected `string` of length >= 1"),
    ],
)
def test_types_have_their_names_in_json(change: dict[str, Any], words: str) -> None:
    """Not those of Python."""
    with pytest.raises(InvalidRequest, match=re.escape(words)):
        read(PLAIN | change)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7"])
def test_another_value_is_no_request(body: bytes) -> None:
    """JSON, but not an object."""
    with pytest.raises(InvalidRequest, match="expected `object`"):
        read_chat_request(body)


@pytest.mark.parametrize(
    ("body", "position"),
    [(b"{", ""), (b"", ""), (b'{"model": "m",, }', "byte 14"), (b"hello", "byte 0")],
)
def test_what_is_not_json_is_told_with_its_position(body: bytes, position: str) -> None:
    """Where there is one: a body that just ends has none."""
    with pytest.raises(InvalidRequest, match="not valid JSON") as caught:
        read_chat_request(body)
    assert position in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": [{"role": "user"}], "\xff": 1}',
        b'{"model": "m", "messages": [{"role": "user"}], "seed": ' + b"1" * 5_000 + b"}",
        b'{"model": "m", "messages": [{"role": "user"}], "temperature": 1e999}',
        b'{"model": "m", "messages": [{"role": "user"}], "tool_choice": ' + b"[" * 200_000,
        b'{"messages": ' + b"[" * 200_000,
        b'{"x": ' * 200_000,
    ],
    ids=[
        "surrogate", "text", "name", "huge integer", "huge float", "deep", "deep list", "deep map"
    ],
)  # fmt: skip
def test_hostile_bodies(body: bytes) -> None:
    """Not UTF-8, numbers without end, nesting without end: invalid, and nothing worse."""
    with pytest.raises(InvalidRequest) as caught:
        read_chat_request(body)
    assert len(str(caught.value)) < 500


def test_the_last_of_two_equal_names_counts_everywhere() -> None:
    """What we decide by is what we send: a doubled member cannot make them differ."""
    body = b'{"model": "a", "messages": [{"role": "user"}], "model": "b", "n": 1, "n": 2}'
    request = read_chat_request(body)
    assert (request.route, request.choices) == ("b", 2)
    sent = {name: msgspec.json.decode(raw) for name, raw in request.fields.items()}
    assert (sent["model"], sent["n"]) == ("b", 2)
