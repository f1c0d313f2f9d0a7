"""The reference of the configuration, made from the schema: ``docs/configuration.md``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ecluse.config.example import example
from ecluse.config.fields import Key, keys_of
from ecluse.config.literals import literal
from ecluse.config.schema import Configuration

__all__ = ["example", "render"]

_INTRODUCTION = """\
# Configuration

<!-- Made from src/ecluse/config/schema.py: change that, then run
     ecluse config docs > docs/configuration.md -->

Ecluse runs without a configuration. To make one:

```sh
ecluse config example > ecluse.toml
ecluse config check
```

The file is the one given with `--config`, else the one which `$ECLUSE_CONFIG` names, else
`ecluse.toml` in the folder where Ecluse was started, else none: then the defaults hold.

It is [TOML](https://toml.io), in UTF-8. It is read strictly: an unknown key, a wrong type or two
entries that contradict each other stop the start, with a message that names the file, the line
and the key:

```
ecluse.toml:14: unknown key "prot" in [server]. Did you mean "port"?
```

Keys of suppliers never stand in the file, only the names of the environment variables that hold
them. Relative paths count from the folder of the file. Durations are in seconds, a day at most,
unless a key ends in `_ms`.

On SIGHUP a running gateway reads the file again, for new requests. What only a restart can change
says so below; the log names such keys where they differ.
"""


def render() -> str:
    """The whole document, in Markdown."""
    parts = [_INTRODUCTION]
    for section in keys_of(Configuration):
        brackets = f"[[{section.name}]]" if section.is_list else f"[{section.name}]"
        several = len(section.tables) > 1
        if several:
            parts.append(f"## `{brackets}`\n\n{_choice(section)}\n")
        for table in section.tables:
            title = (
                f'{brackets}` of kind `"{keys_of(table)[0].choices[0]}"' if several else brackets
            )
            level = "###" if several else "##"
            parts += _section(table, section.name, title, level)
            parts.append(f"```toml\n{chr(10).join(_sample(table, section.name, section))}\n```\n")
    return "\n".join(parts)


def _choice(section: Key) -> str:
    kinds = "\n".join(
        f"- `{keys_of(table)[0].choices[0]}`: {_lowered(_first_line(table))}"
        for table in section.tables
    )
    return f"{section.description} Each entry has a `kind`:\n\n{kinds}"


def _section(table: type[msgspec.Struct], path: str, title: str, level: str) -> Iterator[str]:
    """A heading, what the table is for, its keys, and the tables below it."""
    about = (table.__doc__ or "").strip().split("\n\n")
    paragraphs = "\n\n".join(" ".join(part.split()) for part in about)
    rows = "\n".join(_row(key) for key in keys_of(table))
    head = "| key | type | default | meaning |\n|---|---|---|---|"
    yield f"{level} `{title}`\n\n{paragraphs}\n\n{head}\n{rows}\n"
    for key in keys_of(table):
        inner_path = f"{path}.{key.name}"
        inner_title = f"[[{inner_path}]]" if key.is_list else f"[{inner_path}]"
        for inner in key.tables:
            yield from _section(inner, inner_path, inner_title, level + "#")


def _row(key: Key) -> str:
    if key.required:
        default = "required"
    elif key.default is None:
        default = "unset"
    else:
        default = f"`{literal(key.default)}`"
    meaning = key.description
    if key.examples and len(key.choices) != 1:
        meaning += f" For example `{literal(key.examples[0])}`."
    if key.needs_restart:
        meaning += " A change needs a restart."
    return f"| `{key.name}` | {_cell(key.kind)} | {_cell(default)} | {_cell(meaning)} |"


def _sample(table: type[msgspec.Struct], path: str, entry: Key) -> Iterator[str]:
    """A short table: the keys with an example, which those one has to give all have."""
    yield f"[[{path}]]" if entry.is_list else f"[{path}]"
    keys = keys_of(table)
    for key in (key for key in keys if not key.tables):
        if key.examples or key.is_live:
            yield f"{key.name} = {literal(key.examples[0] if key.examples else key.default)}"
    for key in (key for key in keys if key.tables):
        for inner in key.tables:
            yield ""
            yield from _sample(inner, f"{path}.{key.name}", key)
        for values in key.further:
            yield ""
            yield f"[[{path}.{key.name}]]"
            yield from (f"{name} = {literal(value)}" for name, value in values.items())


def _first_line(table: type[msgspec.Struct]) -> str:
    return (table.__doc__ or "").strip().split("\n\n")[0]


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
