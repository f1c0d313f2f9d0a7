"""Going on with an answer that broke off: what the client has in all is the text, once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ecluse.adapters.upstreams.openai_wire import AnswerReader
from ecluse.api.chat_request import read_chat_request
from ecluse.domain.catalog.deployments import Continuation
from ecluse.domain.routing.continuation import (
    SAID_AGAIN_CHARACTERS_AT_MOST,
    Delivered,
    Diverged,
    Resumption,
    Stitch,
    fields_to_continue,
    resumption,
)
from ecluse.domain.values.answer import Event, Events
from ecluse.domain.values.request import ChatRequest
from ecluse.domain.values.usage import Usage

PROMPT_TOKENS = 11
WORDS = st.text("ab,é🙂\u0301漢", min_size=1, max_size=5)
SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", " \n ", "\r\n", "\t", "\u3000"])
TEXTS = (
    st.lists(WORDS | SPACES, max_size=14).map("".join)
    | st.text(max_size=20)
    | st.text("a ", min_size=60, max_size=140)
)
SERVERS = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["none", "alone", "beside", "always"]),
        "usage": st.sampled_from(["none", "beside", "alone", "empty", "running"]),
        "logprobs": st.booleans(),
        "end": st.sampled_from(["beside", "alone", "bare"]),
    }
)
PLAIN = {"role": "alone", "usage": "alone", "logprobs": False, "end": "alone"}


def request(**more: object) -> ChatRequest:
    """A streamed request as it comes in."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    return read_chat_request(json.dumps(body | more).encode())


def read(payloads: Iterable[object]) -> list[Event]:
    """The events of some chunks."""
    reader = AnswerReader()
    events = [reader.read(json.dumps(payload).encode()) for payload in payloads]
    return [event for event in events if event is not None]


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    """Usage as it is reported; a token is a character."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": prompt},
        "vendor": 1,
    }


def chunks(
    name: str, pieces: Sequence[str], style: dict[str, Any], prompt: int, reason: str | None
) -> list[dict[str, Any]]:
    """What a server streams; ``reason`` None is for an answer that breaks off."""
    said = 0
    payloads: list[dict[str, Any]] = []

    def add(delta: dict[str, Any] | None, finish: str | None = None) -> None:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if delta is not None:
            choice["delta"] = delta
        if style["logprobs"] and delta and delta.get("content"):
            choice["logprobs"] = {"content": [{"token": "?", "logprob": -0.1}]}
        payload: dict[str, Any] = {"id": name, "created": len(name), "model": name, "vendor": name}
        payload["choices"] = [choice]
        if style["usage"] == "running" or (style["usage"] == "beside" and finish):
            payload["usage"] = usage_of(prompt, said)
        payloads.append(payload)

    if style["role"] == "alone":
        add({"role": "assistant", "content": ""})
    for position, piece in enumerate(pieces):
        said += len(piece)
        first = position == 0 and style["role"] == "beside"
        role = {"role": "assistant"} if first or style["role"] == "always" else {}
        ends = reason is not None and style["end"] == "beside" and position == len(pieces) - 1
        add(role | {"content": piece}, reason if ends else None)
    if reason is not None:
        if style["end"] != "beside" or not pieces:
            add(None if style["end"] == "bare" else {}, reason)
        if style["usage"] in ("alone", "empty"):
            empty = [{"index": 0, "delta": {"role": "assistant", "content": ""}}]
            alone = {"id": name, "created": len(name), "usage": usage_of(prompt, said)}
            payloads.append(alone | {"choices": empty if style["usage"] == "empty" else []})
    return payloads


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Any way to cut a text into pieces."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=8, unique=True).map(sorted))
    bounds = [0, *places, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(bounds)]
    return pieces if draw(st.booleans()) else [piece for piece in pieces if piece]


@st.composite
def together(draw: st.DrawFn, events: list[Event]) -> list[Events]:
    """Any way in which events may come together."""
    groups: list[list[Event]] = []
    for event in events:
        if groups and draw(st.booleans()):
            groups[-1].append(event)
        else:
            groups.append([event])
    return [tuple(group) for group in groups]


class Client:
    """Reads the chunks that reach it."""

    def __init__(self) -> None:
        self.delivered = Delivered()
        self.told: list[Event] = []

    def add(self, events: Events) -> None:
        """What is told to it."""
        if events:
            self.delivered.add(events)
            self.told += events

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON it got."""
        return [json.loads(event.raw) for event in self.told]

    @property
    def choices(self) -> list[dict[str, Any]]:
        """Every choice of every chunk."""
        return [choice for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def content(self) -> str:
        """The text it shows."""
        return "".join(choice.get("delta", {}).get("content") or "" for choice in self.choices)

    @property
    def ends(self) -> list[str]:
        """Every finish_reason."""
        return [choice["finish_reason"] for choice in self.choices if choice.get("finish_reason")]

    @property
    def roles(self) -> int:
        """How often it was told who speaks."""
        return sum("role" in choice.get("delta", {}) for choice in self.choices)


def facts(event: Event | None) -> object:
    """What decides in an event."""
    assert event is not None
    choices = [(p.index, p.text, p.content, p.finish_reason) for p in event.choices]
    return choices, event.usage, event.model


@given(
    data=st.data(), text=TEXTS, exactly=st.booleans(), reason=st.sampled_from(["stop", "length"])
)
@settings(max_examples=300)
def test_the_client_has_the_text_exactly_once(
    data: st.DataObject, text: str, exactly: bool, reason: str
) -> None:
    """Wherever it breaks off, however often, and however each server cuts it into chunks."""
    client = Client()
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=3)))
    styles = [data.draw(SERVERS) for _ in range(len(places) + 1)]
    begun = chunks("first", data.draw(cut(text[: places[0]])), styles[0], PROMPT_TOKENS, None)
    assume(begun)
    for events in data.draw(together(read(begun))):
        client.add(events)
    roles, before = client.roles, len(client.told)
    for hop, place in enumerate([*places[1:], len(text)], 1):
        at = resumption(client.delivered.content, exactly=exactly)
        at = at.of_tokens(len(at.prefix))
        stitch = Stitch(client.delivered, at)
        said = text[len(at.prefix) : max(place, len(client.delivered.content))]
        payloads = chunks(
            f"other{hop}",
            data.draw(cut(said)),
            styles[hop],
            PROMPT_TOKENS + len(at.prefix),
            reason if hop == len(places) else None,
        )
        for events in data.draw(together(read(payloads))):
            client.add(stitch.join(events))
    assert client.content == client.delivered.content == text
    assert client.ends == [reason]
    assert {(chunk["id"], chunk["created"]) for chunk in client.chunks} == {("first", 5)}
    assert client.roles == roles
    for chunk in client.chunks[before:]:
        said_something = [
            choice["delta"].get("content") or choice.get("finish_reason")
            for choice in chunk["choices"]
        ]
        assert all(said_something), "no empty deltas"
        assert chunk["choices"] or "usage" in chunk
    reported = [event.usage for event in client.told if event.usage is not None]
    if styles[-1]["usage"] != "none":
        assert reported[-1] == Usage(PROMPT_TOKENS, len(text), PROMPT_TOKENS)
    for event in client.told:
        assert facts(AnswerReader().read(event.raw)) == facts(event), "what decides is what is told"


@given(data=st.data(), text=TEXTS, style=SERVERS)
def test_a_role_that_was_told_needs_no_more(
    data: st.DataObject, text: str, style: dict[str, Any]
) -> None:
    """An answer that broke off after its first chunk is begun anew, and reads as one."""
    client = Client()
    client.add(tuple(read(chunks("first", [], PLAIN, PROMPT_TOKENS, None))))
    assert not client.delivered.is_begun
    at = resumption("", exactly=False)
    stitch = Stitch(client.delivered, at)
    payloads = chunks("other", data.draw(cut(text)), style, PROMPT_TOKENS, "stop")
    for events in data.draw(together(read(payloads))):
        client.add(stitch.join(events))
    assert (client.content, client.ends, client.roles) == (text, ["stop"], 1)


@given(style=SERVERS)
def test_a_role_that_was_not_told_yet_is(style: dict[str, Any]) -> None:
    """Some servers begin with a chunk without choices; the role is then told by the next one."""
    client = Client()
    client.add(tuple(read([{"id": "first", "created": 5, "choices": [], "filters": {}}])))
    stitch = Stitch(client.delivered, resumption("", exactly=False))
    for event in read(chunks("other", ["a", "b"], style, PROMPT_TOKENS, "stop")):
        client.add(stitch.join((event,)))
    assert (client.content, client.ends) == ("ab", ["stop"])
    assert {chunk["id"] for chunk in client.chunks} == {"first"}
    assert (client.roles > 0) == (style["role"] != "none" or style["usage"] == "empty")


@given(data=st.data(), text=TEXTS, style=SERVERS, other=st.text(max_size=8))
def test_what_is_said_otherwise_diverges(
    data: st.DataObject, text: str, style: dict[str, Any], other: str
) -> None:
    """As soon as it is seen, and before anything of it reached the client."""
    client = Client()
    client.add(tuple(read(chunks("first", [text], PLAIN, PROMPT_TOKENS, None))))
    at = resumption(text, exactly=False)
    assume(at.again and not other.startswith(at.again))
    stitch, before = Stitch(client.delivered, at), len(client.told)
    payloads = chunks("other", data.draw(cut(other)), style, PROMPT_TOKENS, "stop")

    def go_on() -> None:
        for events in data.draw(together(read(payloads))):
            client.add(stitch.join(events))

    with pytest.raises(Diverged):
        go_on()
    assert len(client.told) == before


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]},
        {"content": " thr", "tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"content": " thx"},
        {"content": "three"},
    ],
)
def test_something_else_in_place_of_the_word_diverges(delta: dict[str, Any]) -> None:
    """A call, another word, the word without its space."""
    client = Client()
    client.add(tuple(read(chunks("first", ["two thr"], PLAIN, PROMPT_TOKENS, None))))
    stitch = Stitch(client.delivered, resumption("two thr", exactly=False))
    event = read([{"id": "x", "choices": [{"index": 0, "delta": delta}]}])[0]
    with pytest.raises(Diverged):
        stitch.join((event,))


def test_an_answer_that_ends_before_it_said_the_word_again_diverges() -> None:
    """Half of it is not enough."""
    client = Client()
    client.add(tuple(read(chunks("first", ["two thr"], PLAIN, PROMPT_TOKENS, None))))
    stitch = Stitch(client.delivered, resumption("two thr", exactly=False))
    events = read(chunks("other", [" th"], PLAIN, PROMPT_TOKENS, "stop"))
    with pytest.raises(Diverged):
        stitch.join(tuple(events))


def test_all_else_stays_as_it_came() -> None:
    """Unknown members, log-probabilities of whole tokens; not those of a token cut in two."""
    client = Client()
    style = PLAIN | {"logprobs": True}
    client.add(tuple(read(chunks("first", ["a b"], style, PROMPT_TOKENS, None))))
    stitch = Stitch(client.delivered, resumption("a b", exactly=False))
    events = read(chunks("other", [" bc", "d"], style, PROMPT_TOKENS, "stop"))
    cut_in_two, whole, *_ = (json.loads(event.raw) for event in stitch.join(tuple(events)))
    assert cut_in_two["vendor"] == whole["vendor"] == "other"
    assert cut_in_two["choices"][0]["delta"] == {"content": "c"}
    assert "logprobs" not in cut_in_two["choices"][0]
    assert whole["choices"][0] == {
        "index": 0,
        "delta": {"content": "d"},
        "finish_reason": None,
        "logprobs": {"content": [{"token": "?", "logprob": -0.1}]},
    }


@given(
    prompt=st.integers(1, 100),
    completion=st.integers(0, 100),
    prefix=st.integers(0, 150),
    cached=st.none() | st.integers(0, 100),
)
def test_what_was_given_to_go_on_from_is_a_part_of_the_answer(
    prompt: int, completion: int, prefix: int, cached: int | None
) -> None:
    """Not of the prompt; tokens are neither lost nor made, and what is reported adds up."""
    told: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "v": 2}
    if cached is not None:
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    (event,) = read([{"choices": [], "usage": told}])
    (joined,) = Stitch(Delivered(), Resumption("x", "", prefix)).join((event,))
    usage, shown = joined.usage, json.loads(joined.raw)["usage"]
    assert usage is not None
    assert usage.prompt_tokens == shown["prompt_tokens"] == max(1, prompt - prefix)
    assert usage.completion_tokens == shown["completion_tokens"] == completion + prefix
    assert shown["total_tokens"] == usage.prompt_tokens + usage.completion_tokens
    assert usage.cached_tokens == min(cached or 0, usage.prompt_tokens)
    assert shown.get("prompt_tokens_details") == (
        None if cached is None else {"cached_tokens": usage.cached_tokens}
    )
    assert shown["v"] == 2


@given(text=TEXTS)
@example("a" * 10 + " " + "b" * (SAID_AGAIN_CHARACTERS_AT_MOST - 1))
@example("a" * 10 + " " + "b" * SAID_AGAIN_CHARACTERS_AT_MOST)
def test_the_last_word_is_said_again_with_its_white_space(text: str) -> None:
    """Whole, so that no token is cut; unless it is too long, or the only one."""
    at = resumption(text, exactly=False)
    assert at.prefix + at.again == text
    assert len(at.again) <= SAID_AGAIN_CHARACTERS_AT_MOST
    if at.again:
        assert at.prefix == at.prefix.rstrip() != ""
        assert at.again[0].isspace()
        assert len(at.again.split()) <= 1
    else:
        *before, last = text.split() or [""]
        begins = len(text.rstrip()) if text[-1:].isspace() else text.rfind(last)
        long = len(text) - len(text[:begins].rstrip()) > SAID_AGAIN_CHARACTERS_AT_MOST
        assert not before or long


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("one two thr", "one two"),
        ("one two ", "one two"),
        ("one two", "one"),
        ("one\n\ntwo", "one"),
        ("one\r\ntw", "one"),
        ("one:\n\n", "one:"),
        ("one\ttwo", "one"),
        ("one", "one"),
        (" one", " one"),
        ("  ", "  "),
        ("", ""),
        ("漢" * 100, "漢" * 100),
    ],
)
def test_where_to_go_on(text: str, prefix: str) -> None:
    """Before all the white space that precedes the last word or ends the text."""
    assert resumption(text, exactly=False) == Resumption(prefix, text[len(prefix) :])


@given(text=TEXTS)
def test_going_on_exactly(text: str) -> None:
    """At the very end, with nothing to be said again."""
    assert resumption(text, exactly=True) == Resumption(text, "")


def test_counted_tokens_move_nothing() -> None:
    """The place stays."""
    assert Resumption("a", " b").of_tokens(7) == Resumption("a", " b", 7)


def changed(how: Continuation, at: Resumption, **fields: object) -> dict[str, Any]:
    """The changed members as JSON."""
    changes = fields_to_continue(request(**fields), how, at)
    return {name: json.loads(json.dumps(value, default=_raw)) for name, value in changes.items()}


def _raw(raw: object) -> object:
    return json.loads(bytes(raw))  # type: ignore[call-overload]


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("how", "message", "more"),
    [
        ("prefill", {}, {}),
        ("prefix", {"prefix": True}, {}),
        (
            "continue_final_message",
            {},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
    ],
)
def test_three_ways_of_asking(
    how: Continuation, message: dict[str, Any], more: dict[str, Any]
) -> None:
    """Each server's own."""
    begun = {"role": "assistant", "content": "one two"} | message
    at = Resumption("one two", " thr", 2)
    assert changed(how, at) == {"messages": [USER, begun]} | more


@pytest.mark.parametrize("how", ["prefill", "prefix", "continue_final_message"])
def test_an_answer_that_the_client_began_is_gone_on_with(how: Continuation) -> None:
    """Servers refuse two messages of the assistant at the end: the texts are joined."""
    begun = {"role": "assistant", "content": "My answer:", "name": "x", "prefix": True}
    (first, last) = changed(how, Resumption(" one", " two"), messages=[USER, begun])["messages"]
    assert first == USER
    assert last == begun | {"content": "My answer: one"}


def test_a_call_of_a_tool_is_no_beginning() -> None:
    """Nor is what a user said."""
    call = {"role": "assistant", "content": None, "tool_calls": []}
    at = Resumption("one", " two")
    told = changed("prefill", at, messages=[USER, call, USER])["messages"]
    assert told == [USER, call, USER, {"role": "assistant", "content": "one"}]
    assert changed("prefill", at, messages=[call])["messages"][0] == call


@given(
    limits=st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": st.none() | st.integers(1, 50),
            "max_completion_tokens": st.none() | st.integers(1, 50),
        },
    ),
    tokens=st.integers(0, 100),
)
def test_what_was_said_counts_against_the_limit(limits: dict[str, Any], tokens: int) -> None:
    """Each limit that was given is what is left of it; none is set that was not."""
    changes = changed("prefill", Resumption("x", "", tokens), **limits)
    given_limits = {name: limit for name, limit in limits.items() if limit is not None}
    limit = request(**limits).answer_limit_tokens
    del changes["messages"]
    assert changes == {name: max(1, (limit or 0) - tokens) for name in given_limits}


def after(*payloads: dict[str, Any]) -> Delivered:
    """What was delivered with these choices, one a chunk."""
    delivered = Delivered()
    delivered.add(tuple(read({"id": "x", "choices": [payload]} for payload in payloads)))
    return delivered


WORD = {"index": 0, "delta": {"content": "a"}}
CALL = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}
THOUGHT = {"index": 0, "delta": {"reasoning_content": "hm"}}
OTHER = {"index": 1, "delta": {"content": "b"}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("payloads", "fields", "can"),
    [
        ([WORD], {}, True),
        ([WORD], {"tools": TOOLS}, True),
        ([WORD], {"response_format": {"type": "text"}}, True),
        ([WORD], {"stream": False}, False),
        ([WORD], {"n": 2}, False),
        ([WORD, OTHER], {}, False),
        ([WORD, CALL], {"tools": TOOLS}, False),
        ([CALL], {"tools": TOOLS}, False),
        ([THOUGHT], {}, False),
        ([THOUGHT, WORD], {}, False),
        ([WORD], {"response_format": {"type": "json_object"}}, False),
        (
            [WORD],
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            False,
        ),
    ],
)
def test_safe_points(payloads: list[dict[str, Any]], fields: dict[str, Any], can: bool) -> None:
    """Plain text of a single streamed answer, and nothing else."""
    assert after(*payloads).can_be_continued(request(**fields)) is can


@pytest.mark.parametrize(
    ("payloads", "begun", "finished"),
    [
        ([], False, False),
        ([{"index": 0, "delta": {"role": "assistant", "content": ""}}], False, False),
        ([WORD], True, False),
        ([CALL], True, False),
        ([THOUGHT], True, False),
        ([WORD, {"index": 0, "delta": {}, "finish_reason": "stop"}], True, True),
        ([{"index": 0, "delta": {}, "finish_reason": "stop"}], False, True),
        ([WORD, OTHER | {"finish_reason": "stop"}], True, False),
    ],
)
def test_what_the_client_has(payloads: list[dict[str, Any]], begun: bool, finished: bool) -> None:
    """A role is no beginning; the end of one of several choices is not the end."""
    delivered = after(*payloads) if payloads else Delivered()
    assert (delivered.is_begun, delivered.is_finished) == (begun, finished)
    assert delivered.is_opened is bool(payloads)
    assert (delivered.head is None) is not payloads or payloads
