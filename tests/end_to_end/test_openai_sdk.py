"""The openai SDK against what is scripted, against a mock upstream and against the real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION, client_of
from tests.end_to_end.gateway_process import (
    PATIENCE_S,
    QUIET,
    GatewayProcess,
    Starter,
    until,
)
from tests.end_to_end.mock_server import TEXT, TOOL_CALL, MockServer

REPLY = "Nobody was asked."
LADDER = ["demo-small", "demo-medium", "demo-large"]
TASK = [{"role": "user", "content": "add 47 38"}]
PLACES = ["parrot", "normal", "demo-large", "demo"]
"""A scripted upstream, the mock, the engine, and a cascade on the engine."""
WORDS_OF = {"parrot": REPLY, "normal": TEXT, "demo-large": "85", "demo": "85"}
ODD_NAME = "org/50%2B?é:q4"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def question_for(model: str) -> Any:
    """What each can answer."""
    return TASK if model.startswith("demo") else QUESTION


def tool(name: str) -> Any:
    """A tool's declaration."""
    parameters = {"type": "object", "properties": {"town": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Any = [tool("weather"), tool("aardvark"), tool("zebra"), tool("midge")]


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """All three sorts of upstream."""
    return start(
        f'{QUIET}{mock_server.configuration(mock)}[[upstreams]]\nkind = "scripted"\n'
        f'name = "parrot"\nmodel = "parrot"\nreply = "{REPLY}"\n'
        f'[[upstreams]]\nkind = "http"\nname = "odd"\nurl = "{mock.url}"\n'
        f'[[upstreams.models]]\nname = "{ODD_NAME}"\nupstream_name = "normal"\n'
    )


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    """As a user makes it, but for the retries."""
    with client_of(gateway.base_url, gateway.key) as made:
        yield made


@pytest.mark.parametrize("model", PLACES)
def test_an_answer(client: OpenAI, model: str) -> None:
    """The plainest call there is."""
    answer = client.chat.completions.create(model=model, messages=question_for(model))
    assert answer.object == "chat.completion"
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert (choice.message.content or "").strip() == WORDS_OF[model]
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", PLACES)
def test_a_stream(client: OpenAI, model: str) -> None:
    """The words in pieces, a terminal finish_reason, and no usage that nobody asked for."""
    stream = client.chat.completions.create(model=model, messages=question_for(model), stream=True)
    chunks = list(stream)
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces).strip() == WORDS_OF[model]
    assert sum(bool(piece) for piece in pieces) > 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("model", PLACES)
def test_a_stream_with_usage(client: OpenAI, model: str) -> None:
    """include_usage: the same figures as without a stream, in a last chunk without choices."""
    question = question_for(model)
    whole = client.chat.completions.create(model=model, messages=question, temperature=0)
    *_, last = client.chat.completions.create(
        model=model,
        messages=question,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.choices == []
    assert last.usage is not None
    assert whole.usage is not None
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    assert last.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("model", PLACES)
async def test_the_asynchronous_client(gateway: GatewayProcess, model: str) -> None:
    """Whole and streamed, and with the SDK's own helper for streams."""
    question = question_for(model)
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        answer = await client.chat.completions.create(model=model, messages=question)
        assert (answer.choices[0].message.content or "").strip() == WORDS_OF[model]
        stream = await client.chat.completions.create(model=model, messages=question, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text.strip() == WORDS_OF[model]
        async with client.chat.completions.stream(model=model, messages=question) as helped:
            final = await helped.get_final_completion()
        assert (final.choices[0].message.content or "").strip() == WORDS_OF[model]


@pytest.mark.parametrize("model", ["normal", "demo-large", "demo"])
@pytest.mark.parametrize("stream", [False, True])
def test_two_choices(client: OpenAI, model: str, stream: bool) -> None:
    """n=2: both are there, each with its index and its end."""
    asked: Any = {"model": model, "messages": question_for(model), "n": 2, "temperature": 0}
    if not stream:
        answer = client.chat.completions.create(**asked)
        assert [choice.index for choice in answer.choices] == [0, 1]
        texts = [choice.message.content or "" for choice in answer.choices]
    else:
        texts, ended = ["", ""], []
        for chunk in client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                ended += [choice.index] if choice.finish_reason else []
        assert sorted(ended) == [0, 1]
    assert [text.strip() for text in texts] == [WORDS_OF[model]] * 2


@pytest.mark.parametrize("stream", [False, True])
def test_stop(client: OpenAI, stream: bool) -> None:
    """The engine stops before the word, on a list and on a single one."""
    for stop in ("5", ["x", "5"]):
        asked: Any = {"model": "demo-large", "messages": TASK, "stop": stop, "temperature": 0}
        if stream:
            chunks = client.chat.completions.create(**asked, stream=True)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            text = client.chat.completions.create(**asked).choices[0].message.content or ""
        assert text.strip() == "8"


def test_a_limit_of_tokens(client: OpenAI) -> None:
    """max_tokens and its newer name end an answer with ``length``."""
    for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1}):
        answer = client.chat.completions.create(model="demo-large", messages=TASK, **limit)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 1


def test_a_seed(client: OpenAI) -> None:
    """The same seed gives the same answer, however hot."""
    texts = {
        client.chat.completions.create(
            model="demo-large", messages=TASK, seed=7, temperature=2, max_tokens=8
        )
        .choices[0]
        .message.content
        for _ in range(3)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("model", ["normal", "demo-large", "demo"])
def test_logprobs_for_those_who_ask(client: OpenAI, model: str) -> None:
    """They are there on demand; those a cascade asked for itself are taken out again."""
    asked: Any = {"model": model, "messages": question_for(model)}
    answer = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    given = answer.choices[0].logprobs
    assert given is not None
    assert given.content
    assert all(token.logprob <= 0 for token in given.content)
    assert client.chat.completions.create(**asked).choices[0].logprobs is None
    for chunk in client.chat.completions.create(**asked, stream=True):
        assert all(choice.logprobs is None for choice in chunk.choices)
    chunks = client.chat.completions.create(**asked, logprobs=True, stream=True)
    assert any(choice.logprobs for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize(
    "choice",
    ["auto", "none", "required", {"type": "function", "function": {"name": "weather"}}],
    ids=str,
)
def test_tools(client: OpenAI, mock: MockServer, choice: Any) -> None:
    """Tools and tool_choice arrive upstream unchanged and in order; calls come back."""
    answer = client.chat.completions.create(
        model="tools", messages=QUESTION, tools=TOOLS, tool_choice=choice
    )
    assert mock.last()["tools"] == TOOLS
    assert list(mock.last()["tools"][0]["function"]) == ["name", "parameters"]
    assert mock.last()["tool_choice"] == choice
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.to_dict() == TOOL_CALL


def test_tools_in_a_stream(client: OpenAI) -> None:
    """The SDK's helper puts the pieces together and sees the finish_reason of a call."""
    with client.chat.completions.stream(model="tools", messages=QUESTION, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    (call,) = final.choices[0].message.tool_calls or ()
    assert call.function.arguments == TOOL_CALL["function"]["arguments"]


def test_a_tools_result_goes_back(client: OpenAI, mock: MockServer) -> None:
    """The second turn of a tool's use: a call in the history, with no content, and its result."""
    history: Any = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    client.chat.completions.create(model="normal", messages=history, tools=TOOLS)
    assert mock.last()["messages"] == history


def test_tools_on_the_engine(client: OpenAI) -> None:
    """The demonstration's template knows no tools: they do no harm."""
    for tool_choice in ("none", "auto"):
        answer = client.chat.completions.create(
            model="demo-large", messages=TASK, tools=TOOLS, tool_choice=tool_choice, max_tokens=64
        )
        assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")
    again = client.chat.completions.create(model="demo-large", messages=TASK)
    assert (again.choices[0].message.content or "").strip() == "85"


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_binds_the_engine(client: OpenAI, stream: bool) -> None:
    """response_format json_schema: the answer of even the smallest model parses and fits."""
    schema = {
        "type": "object",
        "properties": {"sum": {"enum": [85, 86]}, "even": {"type": "boolean"}},
        "required": ["sum", "even"],
        "additionalProperties": False,
    }
    asked: Any = {
        "model": "demo-large",
        "messages": TASK,
        "max_tokens": 100,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "sum", "strict": True, "schema": schema},
        },
    }
    if stream:
        chunks = client.chat.completions.create(**asked, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = client.chat.completions.create(**asked).choices[0].message.content or ""
    told = json.loads(text)
    assert set(told) == {"sum", "even"}
    assert told["sum"] in (85, 86)
    assert isinstance(told["even"], bool)


def test_a_schema_passes_through(client: OpenAI, mock: MockServer) -> None:
    """An upstream sees the response_format byte for byte, keys in their order."""
    response_format: Any = {
        "type": "json_schema",
        "json_schema": {"name": "z", "schema": {"z": 1, "a": {"y": 2.50, "b": 10**20}}},
    }
    client.chat.completions.create(
        model="normal", messages=QUESTION, response_format=response_format
    )
    assert json.dumps(mock.last()["response_format"]) == json.dumps(response_format)


def test_images_pass_through(client: OpenAI, mock: MockServer) -> None:
    """Parts of a message arrive as they were sent, those we know nothing of included."""
    messages: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                {"type": "hologram", "depth": [1, 2, 3]},
            ],
            "name": "alice",
            "cache_control": {"type": "ephemeral"},
        }
    ]
    client.chat.completions.create(model="normal", messages=messages)
    assert mock.last()["messages"] == messages


def test_images_are_refused_where_none_can_be_seen(client: OpenAI) -> None:
    """The demonstration's models have no eyes."""
    part: Any = {"type": "image_url", "image_url": {"url": PIXEL}}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="demo-large", messages=[{"role": "user", "content": [part]}]
        )
    assert "images" in refused.value.message


def test_unknown_fields_pass_both_ways(client: OpenAI, mock: MockServer) -> None:
    """extra_body arrives upstream, numbers as written; what the upstream adds comes back."""
    extra = {"min_p": 0.05, "x_vendor": {"deep": [1, {"er": None}], "é": "\u2028"}, "top_k": 40}
    answer = client.chat.completions.create(model="normal", messages=QUESTION, extra_body=extra)
    assert {name: mock.last()[name] for name in extra} == extra
    assert answer.model_extra is not None
    assert answer.model_extra["x_unknown"] == {"kept": [1, 2.5, None]}
    for chunk in client.chat.completions.create(model="normal", messages=QUESTION, stream=True):
        assert chunk.model_extra is not None
        assert chunk.model_extra["x_unknown"] == {"kept": [1, 2.5, None]}


def test_nothing_is_added_that_was_not_sent(client: OpenAI, mock: MockServer) -> None:
    """A plain request goes on as it is; a stream is asked for its usage, and that is all."""
    client.chat.completions.create(model="normal", messages=QUESTION)
    assert mock.last() == {"model": "normal", "messages": QUESTION}
    for _ in client.chat.completions.create(
        model="normal",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": False, "x": 1},
    ):
        pass
    assert mock.last() == {
        "model": "normal",
        "messages": QUESTION,
        "stream": True,
        "stream_options": {"include_usage": True, "x": 1},
    }


def test_reasoning_is_preserved(client: OpenAI, mock: MockServer) -> None:
    """What a model thought comes back, in both ways, and may be sent again."""
    answer = client.chat.completions.create(model="reasoning", messages=QUESTION)
    message = answer.choices[0].message
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "let me see"
    assert message.model_extra["thinking_blocks"] == [{"signature": "abc="}]
    first, *_ = client.chat.completions.create(model="reasoning", messages=QUESTION, stream=True)
    assert first.choices[0].delta.model_extra is not None
    assert first.choices[0].delta.model_extra["reasoning_content"] == "let me see"
    history: Any = [*QUESTION, message.to_dict(), *QUESTION]
    client.chat.completions.create(model="reasoning", messages=history, reasoning_effort="low")
    assert mock.last()["messages"] == history
    assert mock.last()["reasoning_effort"] == "low"


def test_models(client: OpenAI) -> None:
    """The list, and each of its members alone; a route says what it asks."""
    listed = {model.id: model for model in client.models.list()}
    assert {ODD_NAME, "parrot", "normal", "demo", *LADDER, "demo-multiply", "auto"} <= set(listed)
    for name, model in listed.items():
        assert model.object == "model"
        assert client.models.retrieve(name) == model
    assert listed["demo"].to_dict()["ecluse"] == {"route": LADDER}
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no such/model")


def test_a_model_with_an_odd_name(client: OpenAI) -> None:
    """Slashes, percent signs and letters beyond ASCII are a name like any other."""
    raw = client.chat.completions.with_raw_response.create(model=ODD_NAME, messages=QUESTION)
    assert raw.parse().choices[0].message.content == TEXT
    assert raw.headers.raw is not None
    assert (b"x-ecluse-model", ODD_NAME.encode()) in raw.headers.raw


def test_headers_tell_who_answered(client: OpenAI) -> None:
    """The model that answered, how many were asked, and an id to look for in the log."""
    raw = client.chat.completions.with_raw_response.create(model="demo", messages=TASK)
    assert raw.headers["x-ecluse-model"] in LADDER
    assert raw.headers["x-ecluse-attempts"] in ("1", "2", "3")
    assert raw.request_id is not None
    assert raw.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("no-such-model", openai.NotFoundError),
        ("picky", openai.BadRequestError),
        ("busy", openai.RateLimitError),
        ("broken", openai.InternalServerError),
        ("garbage", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_typed_errors(
    client: OpenAI, model: str, expected: type[openai.APIStatusError], stream: bool
) -> None:
    """Each status becomes the SDK's class, with a message, a code and a request id."""
    with pytest.raises(expected) as raised:
        client.chat.completions.create(model=model, messages=QUESTION, stream=stream)
    assert raised.value.message
    assert raised.value.code
    assert raised.value.request_id


def test_typed_errors_of_keys(gateway: GatewayProcess, client: OpenAI) -> None:
    """401 and 403 have classes of their own."""
    with client_of(gateway.base_url, "sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model="normal", messages=QUESTION)
    key = gateway.make_key("--route", "demo")["key"]
    with client_of(gateway.base_url, key) as narrow:
        until(lambda: _lists(narrow) == ["demo"], PATIENCE_S, "the new key is known, for its route")
        with pytest.raises(openai.PermissionDeniedError):
            narrow.chat.completions.create(model="normal", messages=QUESTION)


def _lists(client: OpenAI) -> list[str] | None:
    try:
        return [model.id for model in client.models.list()]
    except openai.AuthenticationError:
        return None


def test_an_error_inside_a_stream_is_raised(client: OpenAI) -> None:
    """A truncated answer does not look like a short one."""
    chunks = client.chat.completions.create(model="cut", messages=QUESTION, stream=True)
    pieces: list[str | None] = []
    with pytest.raises(openai.APIError) as raised:
        pieces.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert "".join(piece or "" for piece in pieces) == "one two "
    assert "broke off" in raised.value.message


def test_leaving_a_stream_early(client: OpenAI, mock: MockServer) -> None:
    """``break`` closes the stream, and the upstream with it."""
    with client.chat.completions.create(model="crawling", messages=QUESTION, stream=True) as stream:
        next(iter(stream))
    until(lambda: mock.open_streams == 0, PATIENCE_S, "the upstream's stream is closed")
