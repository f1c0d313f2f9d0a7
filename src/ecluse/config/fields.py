"""The schema as data: what messages and documents say of a key."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import NODEFAULT, inspect

from ecluse.config.literals import literal
from ecluse.config.locate import KeyPath
from ecluse.config.schema import Configuration


class Key(msgspec.Struct, frozen=True):
    """One key: ``kind`` is its type in words, ``tables`` the structs that may stand in it.

    ``default`` is None for a key that may stay unset; ``examples`` are plain TOML values.
    """

    name: str
    kind: str
    description: str
    required: bool = False
    default: object = None
    examples: tuple[object, ...] = ()
    choices: tuple[str, ...] = ()
    tables: tuple[type[msgspec.Struct], ...] = ()
    is_list: bool = False
    is_live: bool = False
    needs_restart: bool = False
    further: tuple[dict[str, object], ...] = ()


@cache
def keys_of(table: type[msgspec.Struct]) -> tuple[Key, ...]:
    """The keys of a table, its ``kind`` first where it has one."""
    info = cast("inspect.StructType", inspect.type_info(table))
    keys = tuple(_key(field) for field in info.fields)
    if info.tag_field is None:
        return keys
    tag = Key(
        name=info.tag_field,
        kind=f'"{info.tag}"',
        description="Says which sort of entry this is.",
        required=True,
        examples=(info.tag,),
        choices=(str(info.tag),),
    )
    return (tag, *keys)


def known_keys(document: object, path: KeyPath) -> tuple[Key, ...]:
    """The keys that may stand in the table at ``path`` of a decoded document; () for no table."""
    tables: tuple[type[msgspec.Struct], ...] = (Configuration,)
    for step in path:
        if isinstance(step, str):
            tables = _tables_in(tables, step, document)
        document = _within(document, step)
    return _keys_of_any(tables, document)


def value_at(document: object, path: KeyPath) -> object:
    """The value at ``path`` of a decoded document; None where there is none."""
    for step in path:
        document = _within(document, step)
    return document


def _within(document: object, step: str | int) -> object:
    if isinstance(document, dict):
        return document.get(step)
    if isinstance(document, list) and isinstance(step, int) and step < len(document):
        return document[step]
    return None


def _tables_in(
    tables: tuple[type[msgspec.Struct], ...], name: str, document: object
) -> tuple[type[msgspec.Struct], ...]:
    return next((key.tables for key in _keys_of_any(tables, document) if key.name == name), ())


def _keys_of_any(tables: tuple[type[msgspec.Struct], ...], document: object) -> tuple[Key, ...]:
    """The keys of the one table, or of that among several which the document's ``kind`` names."""
    if len(tables) == 1:
        return keys_of(tables[0])
    tags = tuple(key for table in tables for key in keys_of(table)[:1])
    for table, tag in zip(tables, tags, strict=True):
        if isinstance(document, dict) and document.get(tag.name) in tag.choices:
            return keys_of(table)
    choices = tuple(choice for tag in tags for choice in tag.choices)
    return tuple(msgspec.structs.replace(tag, choices=choices) for tag in tags[:1])


def _key(field: inspect.Field) -> Key:
    notes = _notes(field.type)
    extra = notes["extra"]
    kind = _plain(field.type)
    item = _plain(kind.item_type) if isinstance(kind, inspect.VarTupleType) else kind
    optional = field.default is not NODEFAULT
    return Key(
        name=field.encode_name,
        kind=_words(field.type),
        description=notes.get("description", ""),
        required=not optional,
        default=field.default if optional else None,
        examples=tuple(notes.get("examples", ())),
        choices=tuple(kind.values) if isinstance(kind, inspect.LiteralType) else (),  # type: ignore[arg-type]  # ours are strings
        tables=tuple(_structs(item)),
        is_list=kind is not item,
        is_live=bool(extra.get("live")),
        needs_restart=bool(extra.get("restart")),
        further=tuple(extra.get("further", ())),
    )


def _notes(kind: inspect.Type) -> dict[str, Any]:
    """Description, examples and extra of all ``Meta`` around a type."""
    notes: dict[str, Any] = {"extra": {}}
    while isinstance(kind, inspect.Metadata):
        notes = {**(kind.extra_json_schema or {}), **notes}
        notes["extra"] = {**(kind.extra or {}), **notes["extra"]}
        kind = kind.type
    return notes


def _plain(kind: inspect.Type) -> inspect.Type:
    """A type without its ``Meta`` and without "or unset"."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        rest = [item for item in kind.types if not isinstance(item, inspect.NoneType)]
        if len(rest) == 1:
            return _plain(rest[0])
    return kind


def _structs(kind: inspect.Type) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, inspect.StructType):
        yield kind.cls
    elif isinstance(kind, inspect.UnionType):
        for item in kind.types:
            yield from _structs(item)


def _words(kind: inspect.Type) -> str:
    """A type in words, for the reader of the documents."""
    plain = _plain(kind)
    match plain:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "integer" + _limits(plain)
        case inspect.FloatType():
            return "number" + _limits(plain)
        case inspect.DecimalType():
            return "number or text"
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in plain.values)
        case inspect.VarTupleType():
            tables = any(_structs(_plain(plain.item_type)))
            few = ", at least one" if plain.min_length else ""
            return ("list of tables" if tables else "list of text") + few
        case inspect.StructType():
            return "table"
        case _:
            return "text"


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f", {_number(kind.ge)} to {_number(kind.le)}"
    bounds = (("at least", kind.ge), ("above", kind.gt), ("at most", kind.le), ("below", kind.lt))
    return "".join(f", {words} {_number(bound)}" for words, bound in bounds if bound is not None)


def _number(value: float) -> str:
    return literal(int(value) if value == int(value) else value)
