"""Whether a whole answer has the form that was asked for. Pure; schemas are checked by whoever
is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ecluse.domain.values.answer import Events
from ecluse.domain.values.request import AnswerFormat

SchemaCheck = Callable[[bytes, bytes], bool]
"""Whether a JSON text (second) fits a JSON Schema (first)."""

NO_ARGUMENTS = "{}"


class Said:
    """What one choice has said in all."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.calls: dict[int, tuple[str, str]] = {}


def said(events: Events) -> Iterable[Said]:
    """Join the pieces of each choice."""
    choices: dict[int, Said] = {}
    for event in events:
        for piece in event.choices:
            choice = choices.setdefault(piece.index, Said())
            choice.content.append(piece.content)
            for call in piece.tool_calls:
                name, arguments = choice.calls.get(call.index, ("", ""))
                choice.calls[call.index] = (name + call.name, arguments + call.arguments)
    return choices.values()


def is_well_formed(wanted: AnswerFormat, events: Events, fits: SchemaCheck) -> bool:
    """Whether every choice is what was asked for: JSON that fits the schema, or calls of known
    tools with arguments that fit theirs.
    """
    return wanted.is_free or all(_is_well_formed(wanted, choice, fits) for choice in said(events))


def _is_well_formed(wanted: AnswerFormat, choice: Said, fits: SchemaCheck) -> bool:
    if choice.calls:
        return all(_is_possible(wanted, call, fits) for call in choice.calls.values())
    if wanted.must_call:
        return False
    return not wanted.wants_json or _is_json("".join(choice.content), wanted.schema, fits)


def _is_possible(wanted: AnswerFormat, call: tuple[str, str], fits: SchemaCheck) -> bool:
    name, arguments = call
    if name not in wanted.tools:
        return False
    return _is_json(arguments or NO_ARGUMENTS, wanted.tools[name], fits)


def _is_json(text: str, schema: bytes | None, fits: SchemaCheck) -> bool:
    """Whether a text is a JSON object, and fits the schema if there is one."""
    encoded = text.encode(errors="replace")
    try:
        value = msgspec.json.decode(encoded)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(value, dict) if schema is None else fits(schema, encoded)
