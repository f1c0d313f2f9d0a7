"""What a reload cannot change: it was settled when the process started."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from ecluse.config.faults import dotted
from ecluse.config.fields import keys_of
from ecluse.config.schema import Configuration


def held_back(running: Configuration, wanted: Configuration) -> tuple[Configuration, list[str]]:
    """``wanted``, but what needs a restart as it is in ``running``; and the keys that differed."""
    differing: list[str] = []
    for table, name in _settled():
        before, after = getattr(running, table), getattr(wanted, table)
        if getattr(before, name) != getattr(after, name):
            differing.append(dotted((table, name)))
            kept = replace(after, **{name: getattr(before, name)})
            wanted = replace(wanted, **{table: kept})
    return wanted, differing


def _settled() -> Iterator[tuple[str, str]]:
    """Table and key of everything that the schema says needs a restart."""
    for table in keys_of(Configuration):
        if not table.is_list:
            for key in keys_of(table.tables[0]):
                if key.needs_restart:
                    yield table.name, key.name
