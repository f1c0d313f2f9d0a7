"""What is sent to a deployment: the client's body, and no more changed than must be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.api.chat_request import read_chat_request
from ecluse.domain.catalog.deployments import Acceptance, Continuation, Deployment, Offer
from ecluse.domain.routing.calls import adds_logprobs, call_for, may_show_logprobs
from ecluse.domain.routing.continuation import Resumption
from ecluse.domain.values.request import ChatRequest

PLACE = Deployment("here/m", "m", "here", "here", Offer("theirs"))
JUDGED, UNJUDGED = Acceptance(-0.5), Acceptance()
BASE = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(st.text(max_size=5).map("x_".__add__), VALUES, max_size=4)
KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans() | st.none(),
        "stream_options": st.none()
        | st.fixed_dictionaries({}, optional={"include_usage": st.booleans(), "v": VALUES}),
        "logprobs": st.booleans() | st.none(),
        "top_logprobs": st.integers(0, 20),
        "tools": st.lists(
            st.fixed_dictionaries(
                {"type": st.just("function"), "function": st.just({"name": "f"}), "x": VALUES}
            ),
            max_size=3,
        ),
        "max_tokens": st.integers(1, 100),
    },
).map(
    lambda body: {
        name: value
        for name, value in body.items()
        if name != "top_logprobs" or body.get("logprobs")  # else it is refused
    }
)


def request(body: dict[str, Any], indent: int | None = None) -> ChatRequest:
    """A request as it comes in."""
    return read_chat_request(json.dumps(body, indent=indent).encode())


def sent(body: dict[str, Any], acceptance: Acceptance = UNJUDGED) -> dict[str, Any]:
    """What the upstream gets for a body."""
    told: dict[str, Any] = json.loads(call_for(request(BASE | body), PLACE, acceptance).body)
    return told


@given(known=KNOWN, unknown=UNKNOWN, judged=st.booleans(), indent=st.none() | st.just(1))
def test_only_what_must_change_changes(
    known: dict[str, Any], unknown: dict[str, Any], judged: bool, indent: int | None
) -> None:
    """All other members stay byte for byte, and in their order: caches of prompts rest on it."""
    asked = request(BASE | known | unknown, indent)
    acceptance = JUDGED if judged else UNJUDGED
    call = call_for(asked, PLACE, acceptance)
    may_change = {"model"}
    if asked.stream and not asked.wants_stream_usage:
        may_change.add("stream_options")
    if judged and not asked.wants_logprobs:
        may_change |= {"logprobs", "top_logprobs"}
    fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
    kept = {name: bytes(raw) for name, raw in asked.fields.items() if name not in may_change}
    assert {name: bytes(fields[name]) for name in kept} == kept
    assert set(fields) - set(asked.fields) <= may_change
    assert [name for name in fields if name in asked.fields] == list(asked.fields)
    assert call == call_for(asked, PLACE, acceptance), "the same request is sent the same way"


@given(known=KNOWN, unknown=UNKNOWN, judged=st.booleans())
def test_what_we_need_is_asked_for(
    known: dict[str, Any], unknown: dict[str, Any], judged: bool
) -> None:
    """The upstream's model, usage in every stream, log-probabilities wherever we judge by them."""
    asked = request(BASE | known | unknown)
    call = call_for(asked, PLACE, JUDGED if judged else UNJUDGED)
    told = json.loads(call.body)
    assert told["model"] == call.model == "theirs"
    assert call.stream == asked.stream == bool(known.get("stream"))
    assert call.texts == ("hi",)
    if call.stream:
        assert told["stream_options"]["include_usage"] is True
        given_options = known.get("stream_options") or {}
        assert told["stream_options"] == given_options | {"include_usage": True}
    if judged:
        assert told["logprobs"] is True


@pytest.mark.parametrize(
    ("body", "adds", "top"),
    [
        ({}, True, 1),
        ({"logprobs": False}, True, 1),
        ({"logprobs": None, "top_logprobs": None}, True, 1),
        ({"logprobs": True, "top_logprobs": 5}, False, 5),
        ({"logprobs": True}, False, None),
    ],
)
def test_logprobs_are_the_clients_or_ours(
    body: dict[str, Any], adds: bool, top: int | None
) -> None:
    """Those that only we asked for are known as such, so that they can be taken out again."""
    assert adds_logprobs(request(BASE | body), PLACE, JUDGED) is adds
    assert not adds_logprobs(request(BASE | body), PLACE, UNJUDGED)
    told = sent(body, JUDGED)
    assert told["logprobs"] is True
    assert told.get("top_logprobs") == top
    assert sent(body) == BASE | body | {"model": "theirs"}


@pytest.mark.parametrize("options", [None, {}, {"v": 1}, {"include_usage": False, "v": [1]}])
def test_other_stream_options_stay(options: dict[str, Any] | None) -> None:
    """Only the one that we need is added."""
    told = sent({"stream": True, "stream_options": options})
    assert told["stream_options"] == (options or {}) | {"include_usage": True}


def test_a_request_that_is_not_streamed_gets_no_stream_options() -> None:
    """Servers refuse them there."""
    assert "stream_options" not in sent({"stream": False})


def test_tools_keep_their_order() -> None:
    """Neither the tools nor the members of their schemas are sorted."""
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"z": 1, "a": 2}}}
        for name in ("zeta", "alpha", "mu")
    ]
    raw = json.dumps(tools).encode()
    body = call_for(request(BASE | {"tools": tools}), PLACE, JUDGED).body
    assert raw in body


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("gives", [True, False, None])
@pytest.mark.parametrize("in_tool_streams", [True, False, None])
def test_logprobs_are_not_asked_for_where_they_are_refused(
    judged: bool, streams: bool, tools: bool, gives: bool | None, in_tool_streams: bool | None
) -> None:
    """Some give none, some none in streams with tools; what is unknown is tried."""
    offer = Offer("theirs", gives_logprobs=gives, logprobs_in_tool_streams=in_tool_streams)
    place = msgspec.structs.replace(PLACE, offer=offer)
    asked = request(BASE | {"stream": streams} | ({"tools": [TOOL]} if tools else {}))
    refused = gives is False or (streams and tools and in_tool_streams is False)
    assert may_show_logprobs(asked, offer) is not refused
    acceptance = JUDGED if judged else UNJUDGED
    assert adds_logprobs(asked, place, acceptance) is (judged and not refused)
    body = json.loads(call_for(asked, place, acceptance).body)
    assert ("logprobs" in body) is (judged and not refused)


@given(
    known=KNOWN,
    unknown=UNKNOWN,
    how=st.sampled_from(["prefill", "prefix", "continue_final_message"]),
    tokens=st.integers(0, 120),
)
def test_going_on_changes_the_messages_and_the_limit(
    known: dict[str, Any], unknown: dict[str, Any], how: Continuation, tokens: int
) -> None:
    """And what the server's way of asking needs; all other members stay byte for byte."""
    asked = request(BASE | known | unknown)
    place = msgspec.structs.replace(PLACE, offer=Offer("theirs", continuation=how))
    at = Resumption("Once upon", " a ti", tokens)
    plain = msgspec.json.decode(call_for(asked, place, UNJUDGED).body, type=dict[str, msgspec.Raw])
    call = call_for(asked, place, UNJUDGED, at)
    fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
    may_change = {"messages", "max_tokens"}
    if how == "continue_final_message":
        may_change |= {"continue_final_message", "add_generation_prompt"}
    for name in {*plain, *fields} - may_change:
        assert bytes(fields[name]) == bytes(plain[name])
    told = json.loads(call.body)
    begun = {"role": "assistant", "content": "Once upon"}
    if how == "prefix":
        begun |= {"prefix": True}
    assert told["messages"] == [*BASE["messages"], begun]
    assert told.get("continue_final_message", False) is (how == "continue_final_message")
    assert told.get("add_generation_prompt", True) is (how != "continue_final_message")
    limit = known.get("max_tokens")
    assert told.get("max_tokens") == (None if limit is None else max(1, limit - tokens))
    assert call.texts == ("hi", "Once upon"), "what is read is counted"
