"""Tables on a terminal, and the same tables piped into another program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 10_000
"""Nothing is wrapped or cut for a reader that is a program."""


def print_table(
    headings: Sequence[tuple[str, bool]],
    rows: Iterable[Sequence[str]],
    footer: Sequence[str] = (),
) -> None:
    """Print rows under headings, each with whether its column holds numbers."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_WIDTH)
    table = Table(box=SIMPLE_HEAD, show_footer=bool(footer), pad_edge=False)
    for number, (heading, numeric) in enumerate(headings):
        table.add_column(
            heading,
            footer=_cell(footer[number]) if footer else "",
            justify="right" if numeric else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(_cell, row))
    console.print(table)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def printable(line: str) -> str:
    """A line that may come from elsewhere: no escape sequence of it reaches the terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _cell(text: str) -> Text:
    """A cell that is shown as it is: names come from elsewhere and may hold markup or escapes."""
    return Text("\n".join(map(printable, text.split("\n"))))
