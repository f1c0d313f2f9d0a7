"""msgspec's complaints about a request -> errors that name the field, in JSON's words."""

from __future__ import annotations

import re

import msgspec

from ecluse.domain.errors import InvalidRequest

_QUOTED = re.compile(r"`([a-z |]+)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def wrong_field(error: msgspec.ValidationError) -> InvalidRequest:
    """msgspec writes ``Expected `str`, got `int` - at `$.messages[0].role```."""
    what, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if found := _MISSING.fullmatch(what):
        return lacking(f"{field}.{found[1]}".lstrip("."))
    what = _QUOTED.sub(_in_json, what)
    what = what[:1].lower() + what[1:]
    if not field:
        return InvalidRequest(
            f"The body is no chat request: {what}.",
            next_step="It is a JSON object with `model` and `messages`.",
        )
    return InvalidRequest(
        f"{field}: {what}.",
        next_step="See the OpenAI API reference for the type of this field.",
        param=field,
    )


def lacking(field: str) -> InvalidRequest:
    """The error for a field that has to be there and is not, by its path."""
    return InvalidRequest(
        f"{field}: it is required and missing.",
        next_step="A chat request needs `model` and `messages`; the OpenAI API reference has more.",
        param=field,
    )


def _in_json(types: re.Match[str]) -> str:
    names = (_JSON_TYPES.get(name, name) for name in types[1].split(" | "))
    return f"`{' | '.join(names)}`"
