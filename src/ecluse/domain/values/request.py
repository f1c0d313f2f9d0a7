"""A chat request: the fields that decide, and the raw body that is passed on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Fields = Mapping[str, msgspec.Raw]
"""A JSON object's top-level members, each value left as the bytes that were sent."""


class AnswerFormat(msgspec.Struct, frozen=True):
    """What shape the answer must have; schemas are JSON as it was sent.

    ``schema`` is that of the content, ``json_object`` asks for any JSON object. ``tools`` maps
    the functions that may be called to the schema of their arguments, None where none was given;
    ``must_call`` says that one of them has to be.
    """

    schema: bytes | None = None
    json_object: bool = False
    tools: Mapping[str, bytes | None] = {}
    must_call: bool = False

    @property
    def wants_json(self) -> bool:
        """Whether the content has to be JSON."""
        return self.json_object or self.schema is not None

    @property
    def is_free(self) -> bool:
        """Whether any text will do."""
        return not self.wants_json and not self.tools


class ChatRequest(msgspec.Struct, frozen=True):
    """What decides about a chat request.

    ``route`` is what the client named in ``model``; ``texts`` are the prompt's texts in order;
    ``fields`` is the whole body as it came, unknown fields included. ``answer_by_us`` is the Unix
    time by which the answer must have begun, in microseconds.
    """

    route: str
    fields: Fields
    texts: tuple[str, ...] = ()
    stream: bool = False
    wants_stream_usage: bool = False
    wants_logprobs: bool = False
    has_images: bool = False
    answer_limit_tokens: int | None = None
    choices: int = 1
    format: AnswerFormat = AnswerFormat()
    answer_by_us: int | None = None

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes of the prompt's texts."""
        return sum(
            len(text) if text.isascii() else len(text.encode(errors="replace"))
            for text in self.texts
        )

    @property
    def prompt_words(self) -> int:
        """Whitespace-separated words of the prompt's texts."""
        return sum(len(text.split()) for text in self.texts)


class Call(msgspec.Struct, frozen=True):
    """What one attempt sends: a body for one model of one upstream."""

    model: str
    body: bytes
    stream: bool
    texts: tuple[str, ...] = ()


def spliced(fields: Fields, replacements: Mapping[str, object]) -> bytes:
    """Return the JSON body with some members replaced and every other one byte for byte."""
    body: dict[str, object] = dict(fields)
    body.update(replacements)
    return msgspec.json.encode(body)
