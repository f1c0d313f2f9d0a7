"""A chat request from the wire: what decides is read and checked, the rest is left as it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from ecluse.api.exchange import not_json
from ecluse.api.wrong_field import lacking, wrong_field
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.values.request import AnswerFormat, ChatRequest

MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 20
ANY_FORMAT = AnswerFormat()
ABSENT = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _JsonSchema(msgspec.Struct):
    schema: msgspec.Raw = ABSENT


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _Function(msgspec.Struct):
    name: str
    parameters: msgspec.Raw = ABSENT


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Body(msgspec.Struct):
    """The members that decide; every other one passes through unread."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: list[_Tool] | None = None
    tool_choice: Any = None
    response_format: _ResponseFormat | None = None


_body_decoder = msgspec.json.Decoder(_Body)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_chat_request(body: bytes, answer_by_us: int | None = None) -> ChatRequest:
    """Read a request's body; ``answer_by_us`` is its deadline, in Unix microseconds.

    Raises InvalidRequest with the position or the path of the field.
    """
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it passes over
        told = _body_decoder.decode(body)
        fields = _fields_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise wrong_field(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error
    _check(told)
    return ChatRequest(
        route=told.model,
        fields=fields,
        texts=tuple(_texts(told.messages)),
        stream=bool(told.stream),
        wants_stream_usage=bool(told.stream_options and told.stream_options.include_usage),
        wants_logprobs=bool(told.logprobs),
        has_images=any(_has_image(message) for message in told.messages),
        answer_limit_tokens=told.max_completion_tokens or told.max_tokens,
        choices=told.n or 1,
        format=_format(told),
        answer_by_us=answer_by_us,
    )


def _check(told: _Body) -> None:
    """What the type of no single field shows. Types of parts and tools that are not known pass."""
    for at, message in enumerate(told.messages):
        if isinstance(message.content, list):
            for number, part in enumerate(message.content):
                if part.type == "text" and part.text is None:
                    raise lacking(f"messages[{at}].content[{number}].text")
    for at, tool in enumerate(told.tools or ()):
        if tool.type == "function" and tool.function is None:
            raise lacking(f"tools[{at}].function")
    wanted = told.response_format
    if wanted is not None and wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise lacking("response_format.json_schema")
        if wanted.json_schema.schema == ABSENT:
            raise lacking("response_format.json_schema.schema")
    if told.top_logprobs and not told.logprobs:
        raise InvalidRequest(
            "top_logprobs: it is allowed only with logprobs.",
            next_step="Set `logprobs` to true, or leave `top_logprobs` out.",
            param="top_logprobs",
        )


def _format(told: _Body) -> AnswerFormat:
    """What shape the answer must have."""
    wanted, tools = told.response_format, told.tools
    if wanted is None and not tools:
        return ANY_FORMAT
    kind = wanted.type if wanted is not None else "text"
    schema = wanted.json_schema.schema if wanted is not None and wanted.json_schema else ABSENT
    return AnswerFormat(
        schema=_given(schema) if kind == "json_schema" else None,
        json_object=kind in ("json_object", "json_schema"),
        tools={
            tool.function.name: _given(tool.function.parameters)
            for tool in tools or ()
            if tool.function is not None
        },
        must_call=told.tool_choice == "required" or isinstance(told.tool_choice, dict),
    )


def _given(raw: msgspec.Raw) -> bytes | None:
    return None if raw == ABSENT else bytes(raw)


def _texts(messages: list[_Message]) -> Iterator[str]:
    for message in messages:
        content = message.content
        if isinstance(content, str):
            yield content
        elif content is not None:
            for part in content:
                if part.text is not None:
                    yield part.text


def _has_image(message: _Message) -> bool:
    return isinstance(message.content, list) and any(
        part.type in ("image_url", "input_image") for part in message.content
    )
