"""OpenAI answers as upstreams really send them: read tolerantly, ended properly."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.openai_server import USAGE, completion, delta

from ecluse.adapters.upstreams.openai_wire import AnswerReader, as_chunk, error_reason
from ecluse.domain.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamTruncated,
)
from ecluse.domain.values.answer import Event, ToolCallPiece
from ecluse.domain.values.usage import Usage

CALLS = [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

RICH = completion(
    choices=[
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": "é 1",
                "reasoning_content": "hm",
                "refusal": None,
                "tool_calls": CALLS,
            },
            "logprobs": {"content": [{"token": "é", "logprob": -0.5, "top_logprobs": []}]},
            "finish_reason": "stop",
        }
        for index in (0, 1)
    ],
    usage=USAGE
    | {
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    system_fingerprint="x",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with some of its members lost, doubled or replaced by anything."""
    if draw(st.integers(0, 12)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        kept = {name: draw(mutated(inner)) for name, inner in value.items()}
        lost = draw(st.sets(st.sampled_from([*value, ""]), max_size=2))
        return {name: inner for name, inner in kept.items() if name not in lost}
    if isinstance(value, list):
        return [draw(mutated(inner)) for inner in value * draw(st.integers(0, 2))]
    return value


def read(payload: object) -> Event:
    """One payload, read on its own."""
    event = AnswerReader().read(json.dumps(payload).encode())
    assert event is not None
    return event


def streamed(*payloads: object) -> tuple[list[Event], Event | None]:
    """The events of a stream, and what was supplied at its end."""
    reader = AnswerReader()
    written = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in payloads]
    events = [event for payload in written if (event := reader.read(payload)) is not None]
    return events, reader.end()


def finish_reasons(event: Event) -> list[str | None]:
    """What the client is sent, which must be what we understood."""
    sent = [choice["finish_reason"] for choice in json.loads(event.raw)["choices"]]
    assert sent == [piece.finish_reason for piece in event.choices]
    return sent


def used_up(payload: bytes) -> None:
    """Everything a payload goes through. Raises UpstreamError at most."""
    reader = AnswerReader()
    try:
        event = reader.read(payload)
        if event is not None and event.choices:
            msgspec.json.decode(as_chunk(event).raw, type=dict[str, msgspec.Raw])
        reader.read(b"[DONE]")
        reader.end()
    except UpstreamError:
        pass


@given(st.binary(max_size=80))
def test_arbitrary_bytes(payload: bytes) -> None:
    """Whatever comes, only an UpstreamError comes out, and the reasons of errors are read."""
    used_up(payload)
    assert isinstance(error_reason(payload).message, str)


@given(mutated(RICH))
def test_mutated_answers(value: object) -> None:
    """The same of what is nearly an answer."""
    payload = json.dumps(value).encode()
    used_up(payload)
    assert isinstance(error_reason(payload).message, str)


@given(st.data())
def test_broken_bytes_of_an_answer(data: st.DataObject) -> None:
    """The same of an answer with some bytes replaced, names that are not UTF-8 included."""
    payload = bytearray(json.dumps(RICH, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    used_up(bytes(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"\xff": 1, "choices": [{"message": {"tool_calls": [{}]}, "finish_reason": "stop"}]}',
        b'{"x": "\xff", "choices": [{"message": {}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"a":' * 100_000,
        b'{"choices": ' + b"[" * 100_000,
        b'{"usage": {"prompt_tokens": ' + b"1" * 5_000 + b"}}",
        b"",
    ],
    ids=["name", "text", "surrogate", "deep", "deep list", "huge number", "empty"],
)
def test_hostile_payloads(payload: bytes) -> None:
    """Not UTF-8, nested without end, numbers without end: garbage, and nothing worse."""
    with pytest.raises(UpstreamGarbage):
        AnswerReader().read(payload)


def test_what_was_generated_is_counted() -> None:
    """Content, reasoning, refusals, parts and tool calls join into the text of a piece."""
    said = [
        {"content": "a", "reasoning_content": "b", "reasoning": "b", "refusal": "c"},
        {"content": [{"type": "text", "text": "d"}, {"type": "x"}, 7]},
        {"content": None, "reasoning": "e", "tool_calls": CALLS},
        {},
    ]
    choices = [{"index": index, "delta": each} for index, each in enumerate(said)]
    pieces = read({"choices": choices}).choices
    assert [piece.text for piece in pieces] == ["abc", "d", "ef{}", ""]
    assert [piece.content for piece in pieces] == ["a", "d", "", ""]
    assert [piece.tool_calls for piece in pieces] == [(), (), (ToolCallPiece(0, "f", "{}"),), ()]


@pytest.mark.parametrize("choices", [[], delta("x")["choices"], None])
def test_usage_stands_beside_choices_or_alone(choices: object) -> None:
    """It is found in a chunk with choices, with empty ones and without the member."""
    event = read(delta("x") | {"choices": choices, "usage": USAGE})
    assert event.usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 4, 3),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
            Usage(9, 5, 4),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_cache_hit_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
            Usage(9, 5, 0),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": None,
                "prompt_tokens_details": None,
                "completion_tokens_details": {},
            },
            Usage(9, 0),
        ),
        (
            {"prompt_tokens": 9.0, "completion_tokens": 5.0, "prompt_tokens_details": []},
            Usage(9, 5),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4.0}}, Usage(9, 0, 4)),
        ({"prompt_tokens": 9.5, "completion_tokens": 5}, None),
        ({"prompt_tokens": "9", "completion_tokens": 5}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ([], None),
        ("none", None),
        ({"prompt_tokens": None}, None),
        ({"completion_tokens": 5}, None),
        ({}, None),
        (None, None),
        ({"prompt_tokens": -1, "completion_tokens": 5}, None),
        ({"prompt_tokens": 1, "completion_tokens": 10**15}, None),
    ],
)
def test_usage_as_upstreams_write_it(told: object, usage: Usage | None) -> None:
    """Cached and reasoning tokens, DeepSeek's name, missing members, nonsense."""
    assert read(completion(usage=told)).usage == usage


@pytest.mark.parametrize("index", [None, 0.0])
def test_an_odd_index_is_the_first(index: object) -> None:
    """Some servers leave it empty; where we mend the answer, it is found all the same."""
    message = {"role": "assistant", "tool_calls": CALLS}
    choice = {"index": index, "message": message, "finish_reason": "stop"}
    event = read(completion(choices=[choice]))
    assert [piece.index for piece in event.choices] == [0]
    assert finish_reasons(event) == ["tool_calls"]


def test_a_stream_that_called_tools_ends_so() -> None:
    """``tool_calls`` even if the upstream said stop, for each choice on its own."""
    first = delta(None) | {
        "choices": [
            {"index": 0, "delta": {"tool_calls": CALLS}, "finish_reason": None},
            {"index": 1, "delta": {"content": "x"}, "finish_reason": None},
        ]
    }
    last = delta(None) | {
        "choices": [{"index": i, "delta": {}, "finish_reason": "stop", "v": i} for i in (1, 0)]
    }
    events, end = streamed(first, last, b"[DONE]")
    assert end is None
    assert finish_reasons(events[0]) == [None, None]
    assert finish_reasons(events[1]) == ["stop", "tool_calls"]
    assert [choice["v"] for choice in json.loads(events[1].raw)["choices"]] == [1, 0]


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "function_call"])
def test_other_reasons_stay(reason: str) -> None:
    """Only ``stop`` is corrected: an answer that was cut off stays cut off."""
    choice = {"index": 0, "message": {"tool_calls": CALLS}, "finish_reason": reason}
    assert finish_reasons(read(completion(choices=[choice]))) == [reason]


def test_a_whole_answer_that_called_tools_says_so() -> None:
    """The same correction, and every other byte of a choice as it came."""
    choice = {
        "index": 0,
        "message": {"content": None, "tool_calls": CALLS},
        "finish_reason": "stop",
    }
    event = read(completion(choices=[choice | {"vendor": 1}, choice | {"index": 1}]))
    assert finish_reasons(event) == ["tool_calls", "tool_calls"]
    told = json.loads(event.raw)
    assert told["choices"][0] == choice | {"vendor": 1, "finish_reason": "tool_calls"}
    assert told["usage"] == USAGE


@pytest.mark.parametrize("tools", [False, True])
def test_a_missing_end_is_supplied(tools: bool) -> None:
    """[DONE] without a terminal finish_reason: a chunk like the last one, for what was open."""
    open_delta = {"tool_calls": CALLS} if tools else {"content": "x"}
    first = delta(None, vendor=1) | {
        "choices": [
            {"index": 1, "delta": open_delta, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        ],
        "usage": USAGE,
    }
    _, end = streamed(first, b"[DONE]")
    assert end is not None
    assert finish_reasons(end) == ["tool_calls" if tools else "stop"]
    told = json.loads(end.raw)
    assert (told["id"], told["model"], told["vendor"]) == ("a", "m", 1)
    assert told["choices"][0]["index"] == 1
    assert "usage" not in told
    assert end.usage is None


def test_a_missing_done_is_tolerated() -> None:
    """A terminal finish_reason is enough; usage after it is still read."""
    events, end = streamed(delta("x"), delta(None, "stop"), delta(None, choices=[], usage=USAGE))
    assert end is None
    assert events[-1].usage == Usage(3, 2)


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [b"[DONE]"],
        [delta("x")],
        [delta("x", "")],
        [delta(None, choices=[], usage=USAGE), b"[DONE]"],
        [
            delta("x")
            | {
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "stop"},
                    {"index": 1, "delta": {"content": "x"}},
                ]
            }
        ],
    ],
    ids=["nothing", "only DONE", "no end", "empty reason", "only usage", "one of two"],
)
def test_a_stream_that_is_not_whole(payloads: list[object]) -> None:
    """Truncation is told, never taken for an end."""
    with pytest.raises(UpstreamTruncated):
        streamed(*payloads)


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE]", b"[DONE]\n", b"\t[DONE] "])
def test_done_may_have_space_around_it(done: bytes) -> None:
    """As some servers write it."""
    reader = AnswerReader()
    assert reader.read(done) is None
    assert reader.said_done


@pytest.mark.parametrize(
    "error",
    [{"message": "no memory", "code": 500}, "no memory", {"type": "no memory"}, ["no memory"]],
)
def test_an_error_object_is_a_failure(error: object) -> None:
    """In a 200 or in the middle of a stream, in any shape, with its reason."""
    reader = AnswerReader()
    assert reader.read(json.dumps(delta("x")).encode()) is not None
    with pytest.raises(UpstreamFailed, match="no memory"):
        reader.read(json.dumps({"error": error}).encode())
    with pytest.raises(UpstreamFailed, match="no memory"):
        read(completion(error=error))


def test_no_error_is_no_failure() -> None:
    """Some servers always send the member."""
    assert read(completion(error=None)).choices


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4), st.booleans())
@example({"vendor": [1.0, 1e22, -0.0, "é\u2028"]}, True)
def test_unknown_fields_survive(extra: dict[str, Any], tools: bool) -> None:
    """What is not ours to change stays byte for byte; with nothing to change, all of it."""
    known = {"choices", "usage", "model", "error", "object"}
    extra = {name: value for name, value in extra.items() if name not in known}
    message = {"tool_calls": CALLS} if tools else {"content": "x"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    payload = json.dumps({**completion(choices=[choice]), **extra}, indent=1).encode()
    event = AnswerReader().read(payload)
    assert event is not None
    assert event.raw == payload or tools
    for raw in (event.raw, as_chunk(event).raw):
        sent = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        came = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        assert {n: bytes(sent[n]) for n in extra} == {n: bytes(came[n]) for n in extra}


@pytest.mark.parametrize(
    ("logprobs", "least"),
    [
        (None, None),
        ({}, None),
        ({"content": None}, None),
        ({"content": []}, None),
        ({"content": [{"logprob": -0.5}, {"logprob": -2}, {"logprob": -0.1}]}, -2.0),
        ({"content": [{"logprob": -0.5}, {}]}, -math.inf),
        ({"content": [{"logprob": None}]}, -math.inf),
    ],
)
def test_the_least_logprob(logprobs: object, least: float | None) -> None:
    """A token without one is no evidence at all; an answer without any shows none."""
    choice = {"index": 0, "message": {"content": "x"}, "logprobs": logprobs}
    assert read(completion(choices=[choice])).choices[0].least_logprob == least


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"message": "m", "code": 1, "type": "t", "param": "p"}}', ("m", 1, "t", "p")),
        (b'{"error": "m"}', ("m", None, None, None)),
        (b'{"message": "m", "code": "c"}', ("m", "c", None, None)),
        (b'{"detail": "m"}', ("m", None, None, None)),
        (b'{"detail": [{"loc": ["x"]}]}', ('[{"loc":["x"]}]', None, None, None)),
        (b'{"error": {"code": 1}}', ('{"code":1}', 1, None, None)),
        (b"<html>", ("<html>", None, None, None)),
        (b"", ("", None, None, None)),
        (b"\xff", ("\ufffd", None, None, None)),
    ],
)
def test_reasons_of_errors(body: bytes, reason: tuple[object, ...]) -> None:
    """The shapes in which servers tell what is wrong."""
    told = error_reason(body)
    assert (told.message, told.code, told.type, told.param) == reason


def test_a_long_reason_is_cut() -> None:
    """It goes into logs and answers."""
    assert len(error_reason(b"x" * 100_000).message) == 2_000
    assert len(error_reason(b'{"error": {"message": "' + b"x" * 9_000 + b'"}}').message) == 2_000


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "Infinity"])
def test_log_probabilities_that_are_no_numbers(number: str) -> None:
    """Some servers write what JSON cannot: it is no evidence, and the client gets valid JSON."""
    token = f'{{"token": "a", "logprob": {number}, "top_logprobs": [{{"logprob" : {number}}}]}}'
    payload = (
        '{"choices": [{"index": 0, "delta": {"content": "NaN"}, '
        f'"logprobs": {{"content": [{token}]}}}}]}}'
    )
    event = AnswerReader().read(payload.encode())
    assert event is not None
    (piece,) = event.choices
    assert (piece.content, piece.least_logprob, piece.tokens) == ("NaN", -math.inf, 1)
    assert json.loads(event.raw)["choices"][0]["delta"] == {"content": "NaN"}
    assert "NaN" not in json.dumps(json.loads(event.raw)["choices"][0]["logprobs"])
