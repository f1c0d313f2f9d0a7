"""What can be a model's name. Pure."""

from __future__ import annotations

from typing import TypeGuard


def is_model_name(value: object) -> TypeGuard[str]:
    """Whether a server's word for a model can be one.

    Names go into headers, logs and lists, where a line break or a control character would forge
    or break what follows it.
    """
    return isinstance(value, str) and value != "" and value.isprintable()
