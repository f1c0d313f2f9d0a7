"""The commented example file, made from the schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec

from ecluse.config.fields import Key, keys_of
from ecluse.config.literals import literal
from ecluse.config.schema import Configuration

_WIDTH = 88
_INTRODUCTION = """\
The configuration of Ecluse. Every key is here, with its meaning and its default, or an example
where it has none.

A line that begins with "# " is a remark. A line that begins with "#" alone is a key or a table
that is switched off: take the "#" away to switch it on. Without any of it Ecluse runs too.

Ecluse reads the file given with --config, else the one which $ECLUSE_CONFIG names, else
ecluse.toml in the folder it was started in. A mistake is told with its line; to look for
mistakes without starting:  ecluse config check"""


def example() -> str:
    """``ecluse.example.toml``: valid as it stands, and with every ``#key`` switched on."""
    lines = list(_remark(_INTRODUCTION))
    for section in keys_of(Configuration):
        for table in section.tables:
            lines += ["", "", *_table(table, section.name, section)]
    return "\n".join(lines) + "\n"


def _table(table: type[msgspec.Struct], path: str, entry: Key) -> Iterator[str]:
    """A table with its remarks; then, within it, the tables below it."""
    yield from _remark(table.__doc__ or "")
    # A single table does no harm while it is empty; an entry of a list would be incomplete.
    nested = "." in path
    off = "#" if entry.is_list or nested else ""
    yield off + (f"[[{path}]]" if entry.is_list else f"[{path}]")
    keys = keys_of(table)
    for number, key in enumerate(key for key in keys if not key.tables):
        if number > 0:
            yield ""
        yield from _remark(_meaning(key))
        yield _line(key, off="" if key.is_live else "#")
    for key in (key for key in keys if key.tables):
        for inner in key.tables:
            yield ""
            yield from _table(inner, f"{path}.{key.name}", key)
        for values in key.further:
            yield ""
            yield f"#[[{path}.{key.name}]]"
            yield from (f"#{name} = {literal(value)}" for name, value in values.items())


def _line(key: Key, off: str) -> str:
    instead = f"  # for example {literal(key.examples[0])}" if key.examples else ""
    if key.required or key.default is None:
        return f"{off}{key.name} = {literal(key.examples[0])}"
    return f"{off}{key.name} = {literal(key.default)}{instead}"


def _meaning(key: Key) -> str:
    if key.required:
        return f"Required. {key.description}"
    choices = f" ({key.kind})" if len(key.choices) > 1 else ""
    return f"{key.description}{choices}"


def _remark(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number > 0:
            yield "#"
        for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH):
            yield f"# {line}"
