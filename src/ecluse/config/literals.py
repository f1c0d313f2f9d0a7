"""Plain values as TOML writes them."""

from __future__ import annotations

import json

_READABLE = 100_000


def literal(value: object) -> str:
    """One line of TOML for text, numbers, booleans, lists and (inline) tables of these."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if abs(value) >= _READABLE else str(value)
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)  # its escapes are TOML's too
        case list() | tuple():
            return f"[{', '.join(literal(item) for item in value)}]"
        case dict():
            pairs = ", ".join(f"{name} = {literal(item)}" for name, item in value.items())
            return f"{{ {pairs} }}"
        case _:
            raise TypeError(f"no TOML literal for {value!r}")
