"""What a client sees: what it asked for, in frames that hold, and nothing that only we wanted."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.openai_server import USAGE, chunks, completion, delta

from ecluse.adapters.upstreams.event_stream import EventStreamDecoder
from ecluse.adapters.upstreams.openai_wire import AnswerReader, as_chunk
from ecluse.api.shown_answer import ShownStream, shown_whole
from ecluse.domain.values.answer import Event, Progress
from ecluse.domain.values.request import ChatRequest

LOGPROBS = {"content": [{"token": "x", "logprob": -0.5, "top_logprobs": []}]}
USAGE_ALONE = delta(None) | {"choices": [], "usage": USAGE}


def with_logprobs(chunk: dict[str, Any]) -> dict[str, Any]:
    """The same chunk with log-probabilities and a field we do not know in its choice."""
    choices = [choice | {"logprobs": LOGPROBS, "vendor": 1} for choice in chunk["choices"]]
    return chunk | {"choices": choices}


def events_of(*payloads: object, indent: int | None = None) -> tuple[Event, ...]:
    """Payloads as an upstream's events."""
    reader = AnswerReader()
    read = (reader.read(json.dumps(payload, indent=indent).encode()) for payload in payloads)
    return tuple(event for event in read if event is not None)


def request(usage: bool = False) -> ChatRequest:
    """A streamed request."""
    return ChatRequest("auto", {}, stream=True, wants_stream_usage=usage)


def seen(
    events: tuple[Event, ...],
    *,
    usage: bool = False,
    strip_logprobs: bool = False,
    names_model: bool = False,
) -> list[Any]:
    """What a client decodes from the stream, [DONE] checked and left out."""
    shown = ShownStream(request(usage))
    shown.told_in_headers = None if names_model else ("m", 2)
    sent = (
        b"".join(shown.write(Progress((event,), "m", 2, strip_logprobs)) for event in events)
        + shown.end()
    )
    decoder = EventStreamDecoder()
    *payloads, done = decoder.feed(sent)
    assert done == b"[DONE]"
    assert decoder.rest() == []
    return [json.loads(payload) for payload in payloads]


def test_a_stream_without_wishes_passes_as_it_came() -> None:
    """Nothing to take out: the same bytes, framed."""
    chunk = delta("x", vendor={"y": [1, 2.50]})
    (event,) = events_of(chunk)
    shown = ShownStream(request())
    assert shown.write(Progress((event,), "m", 1)) == b"data: " + event.raw + b"\n\n"
    assert shown.end() == b"data: [DONE]\n\n"


def test_events_that_came_together_leave_together() -> None:
    """One write for all of them, each in a frame of its own."""
    events = events_of(delta("a"), delta("b"))
    sent = ShownStream(request()).write(Progress(events, "m", 1))
    assert EventStreamDecoder().feed(sent) == [event.raw for event in events]


def test_usage_that_was_not_asked_for_is_taken_out() -> None:
    """A chunk of its own disappears; beside choices only the member does."""
    payloads = [delta("a"), delta("b") | {"usage": USAGE}, delta(None, "stop"), USAGE_ALONE]
    assert seen(events_of(*payloads)) == [delta("a"), delta("b"), delta(None, "stop")]


def test_usage_that_was_asked_for_comes_in_a_chunk_without_choices() -> None:
    """As the API says, also where the upstream put it beside the last choice."""
    alone = seen(events_of(*chunks("a")), usage=True)
    assert alone == chunks("a")
    beside = seen(events_of(delta("a"), delta(None, "stop", usage=USAGE)), usage=True)
    assert beside[-1]["choices"] == []
    assert beside[-1]["usage"] == USAGE
    assert (beside[-1]["id"], beside[-1]["object"]) == ("a", "chat.completion.chunk")
    both = seen(events_of(delta(None, "stop", usage=USAGE), USAGE_ALONE), usage=True)
    assert [chunk["choices"] for chunk in both].count([]) == 1


def test_running_usage_ends_with_the_last() -> None:
    """Some servers count in every chunk: the last count is the answer's."""
    counts = [USAGE | {"completion_tokens": n} for n in (1, 2)]
    told = seen(events_of(*(delta("x", usage=usage) for usage in counts)), usage=True)
    assert told[-1]["usage"] == counts[-1]


@given(
    before=st.integers(0, 2),
    beside=st.booleans(),
    alone=st.booleans(),
    indent=st.none() | st.integers(0, 2),
    strip=st.booleans(),
)
def test_asked_usage_is_in_exactly_one_chunk_without_choices(
    before: int, beside: bool, alone: bool, indent: int | None, strip: bool
) -> None:
    """However the upstream told it; and never when it was not asked for."""
    payloads: list[object] = [delta("x")] * before
    payloads += [delta(None, "stop") | ({"usage": USAGE} if beside else {})]
    payloads += [USAGE_ALONE] * alone
    events = events_of(*payloads, indent=indent)
    told = seen(events, usage=True, strip_logprobs=strip)
    without_choices = [chunk["usage"] for chunk in told if not chunk["choices"]]
    assert without_choices == [USAGE] * (beside or alone)
    assert not any("usage" in chunk for chunk in seen(events, strip_logprobs=strip))


def test_logprobs_that_only_we_asked_for_are_taken_out() -> None:
    """From every choice, and nothing else from it."""
    events = events_of(with_logprobs(delta("a")), delta(None, "stop"))
    stripped, last = seen(events, strip_logprobs=True)
    assert stripped["choices"][0] == delta("a")["choices"][0] | {"logprobs": None, "vendor": 1}
    assert last == delta(None, "stop")
    assert seen(events)[0] == with_logprobs(delta("a"))


@pytest.mark.parametrize("indent", [None, 1])
def test_a_whole_answer(indent: int | None) -> None:
    """Its bytes, or its bytes without the log-probabilities that only we asked for."""
    told = with_logprobs(completion(vendor=2))
    (event,) = events_of(told, indent=indent)
    assert shown_whole(Progress((event,), "m", 1)) == event.raw
    stripped = json.loads(shown_whole(Progress((event,), "m", 1, strip_logprobs=True)))
    (choice,) = told["choices"]
    assert stripped == told | {"choices": [choice | {"logprobs": None}]}


def test_the_model_is_told_in_the_terminal_chunk_where_headers_left_before() -> None:
    """And only there."""
    events = events_of(*chunks("a"))
    told = seen(events, usage=True, names_model=True)
    assert [chunk.get("ecluse") for chunk in told] == [None, {"model": "m", "attempts": 2}, None]
    assert not any("ecluse" in chunk for chunk in seen(events, usage=True))


def test_attempts_after_the_headers_are_told_in_the_terminal_chunk() -> None:
    """As when another deployment went on with the answer."""
    shown = ShownStream(request(False))
    shown.told_in_headers = ("m", 1)
    sent = [shown.write(Progress((event,), "m", 2)) for event in events_of(*chunks("a"))]
    assert [b"ecluse" in piece for piece in sent if piece] == [False, True]


@given(
    indent=st.integers(0, 3),
    text=st.text(max_size=10),
    usage=st.booleans(),
    strip=st.booleans(),
    names=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)
def test_pretty_printed_answers_keep_their_frames(
    indent: int, text: str, usage: bool, strip: bool, names: bool, line_end: str
) -> None:
    """However an upstream breaks its lines, the client decodes the same chunks."""
    plain = completion(text, extra={"a": [1, 2]})
    written = json.dumps(plain, indent=indent).replace("\n", line_end)
    event = AnswerReader().read(written.encode())
    assert event is not None
    options = {"usage": usage, "strip_logprobs": strip, "names_model": names}
    (same,) = events_of(plain)
    assert seen((as_chunk(event),), **options) == seen((as_chunk(same),), **options)


@given(st.text(max_size=20))
def test_text_never_breaks_a_frame(text: str) -> None:
    """Line ends inside a JSON string are escaped, whatever the upstream leaves unescaped."""
    raw = msgspec.json.encode(delta(text))
    event = AnswerReader().read(raw)
    assert event is not None
    (told,) = seen((event,))
    assert told["choices"][0]["delta"]["content"] == text
