"""What is wrong with a configuration, before it is known in which line of which file."""

from __future__ import annotations

import msgspec

from ecluse.config.locate import KeyPath


class Fault(msgspec.Struct, frozen=True):
    """``path`` is the key or table to blame, ``twin`` another place it collides with."""

    path: KeyPath
    message: str
    next_step: str = ""
    twin: KeyPath | None = None


_LONGEST_SHOWN = 60


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``upstreams[0].url``."""
    return "".join(
        f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path
    ).lstrip(".")


def header(path: KeyPath) -> str:
    """The table at ``path`` as TOML writes its header: ``[server]``, ``[[upstreams]]``."""
    names = ".".join(shown(step) for step in path if isinstance(step, str))
    if not path:
        return "the file"
    return f"[[{names}]]" if isinstance(path[-1], int) else f"[{names}]"


def shown(name: str) -> str:
    """A key's name fit for a line of a message: what is not printable is escaped."""
    short = name if len(name) <= _LONGEST_SHOWN else name[: _LONGEST_SHOWN - 3] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]
