"""What can be a model's name. Pure."""

from __future__ import annotations

from typing import TypeGuard


def is_model_name(value: object) -> TypeGuard[str]:
    """Whether a server's word for a model can be one.

    Names go into headers, logs and lists, where a line break or a control character would forge
    or break what follows it.
    """
    return isinstance(value, str) and value != "" and value.isprintable()


def is_same_model(asked: str, told: str) -> bool:
    """Whether the name a server gives itself in an answer can be that of the model it was asked
    for: the same, a dated or tagged version of it, or the file it was loaded from.
    """
    asked, told = _plain(asked), _plain(told)
    return asked.startswith(told) or told.startswith(asked)


def _plain(name: str) -> str:
    """The last part of a path, in lower case."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
