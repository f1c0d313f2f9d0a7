"""msgspec's complaints -> sentences about keys, with the nearest known key or what is expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ecluse.config.faults import Fault, dotted, header, shown
from ecluse.config.fields import Key, keys_of, known_keys, value_at
from ecluse.config.locate import KeyPath
from ecluse.config.schema import PATTERN_WORDS, Configuration

_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>[A-Za-z0-9_.\[\]]*)`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPE = re.compile(r"Expected `(.*)`, got `(.*)`")
_PATTERN = re.compile(r"Expected `str` matching regex (.*)", re.DOTALL)
_LENGTH = re.compile(r"Expected `(str|array)` of length >= 1")
_LIMIT = re.compile(r"Expected `(int|float)` (<=|>=|<|>) (\S+)")

_TYPES = {
    "int": "an integer",
    "float": "a number",
    "decimal": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "date": "a date",
    "datetime": "a date",
    "time": "a time",
}
_COMPARISONS = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}


def explain(complaint: str, document: object) -> Fault:
    """The fault behind a ``msgspec.ValidationError`` raised on the decoded ``document``."""
    match = _PLACE.match(complaint)
    what, place = (match["what"], match["path"] or "") if match else (complaint, "")
    path: KeyPath = tuple(int(index) if index else name for name, index in _STEP.findall(place))
    if found := _UNKNOWN.fullmatch(what):
        return _unknown(found[1], path, document)
    if found := _MISSING.fullmatch(what):
        return _missing(found[1], path, document)
    expected, next_step = _expectation(what, path, document)
    return Fault(path, f"{dotted(path) or 'the file'}: {expected}", next_step)


def _unknown(name: str, path: KeyPath, document: object) -> Fault:
    known = known_keys(document, path)
    where = header(path) if path else "the file"
    message = f'unknown key "{shown(name)}" in {where}.'
    return Fault((*path, name), message, _hint(name, known, is_top=not path))


def _hint(name: str, known: Sequence[Key], *, is_top: bool) -> str:
    names = [key.name for key in known]
    homes = [
        section.name
        for section in keys_of(Configuration)
        if is_top and not section.is_list
        for key in keys_of(section.tables[0])
        if key.name == name
    ]
    if homes:
        return f'"{name}" belongs in [{homes[0]}].'
    words = set(name.lower().split("_"))
    near = difflib.get_close_matches(name.lower(), names, n=1) or [
        known_name for known_name in names if words & set(known_name.split("_"))
    ]
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"Known here: {', '.join(names)}." if names else ""


def _missing(name: str, path: KeyPath, document: object) -> Fault:
    key = next((key for key in known_keys(document, path) if key.name == name), None)
    message = f'{header(path)} lacks the key "{name}".'
    if key is None:
        return Fault(path, message)
    if key.choices:
        return Fault(path, message, f"It is {_alternatives(key.choices)}.")
    return Fault(path, message, f"{name}: {key.description[0].lower()}{key.description[1:]}")


def _expectation(what: str, path: KeyPath, document: object) -> tuple[str, str]:
    """What was expected at ``path``, and a next step where there is one."""
    value = value_at(document, path)
    if found := _PATTERN.fullmatch(what):
        # The value is not repeated: it may be a key that somebody pasted here.
        pattern = found[1][1:-1].replace("\\\\", "\\")
        return f"expected {PATTERN_WORDS.get(pattern, 'other text')}", ""
    if found := _LIMIT.fullmatch(what):
        limit = found[3].removesuffix(".0")
        return f"expected {_TYPES[found[1]]} {_COMPARISONS[found[2]]} {limit}, got {value}", ""
    if found := _LENGTH.fullmatch(what):
        return ("expected some text" if found[1] == "str" else "expected at least one entry"), ""
    if what == "Invalid decimal string":
        return 'expected an amount such as 0.15 or "0.15"', ""
    if what.startswith(("Invalid value", "Invalid enum value")):
        choices = _choices(path, document)
        near = difflib.get_close_matches(str(value), choices, n=1)
        expected = f"expected {_alternatives(choices)}, got {_quoted(value)}"
        return expected, f'Did you mean "{near[0]}"?' if near else ""
    if found := _TYPE.fullmatch(what):
        got = "a boolean" if found[2] == "bool" else _type_words(found[2])
        return f"expected {_type_words(found[1])}, got {got}", ""
    return what[:1].lower() + what[1:], ""


def _choices(path: KeyPath, document: object) -> tuple[str, ...]:
    known = known_keys(document, path[:-1])
    return next((key.choices for key in known if key.name == path[-1]), ())


def _alternatives(choices: Sequence[str]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _quoted(value: object) -> str:
    return f'"{shown(value)}"' if isinstance(value, str) else str(value)


def _type_words(names: str) -> str:
    """``int | null`` in words. Null is left out: TOML has no way to write it."""
    kinds = [name for name in names.split(" | ") if name != "null"]
    return " or ".join(_TYPES.get(name, name) for name in kinds)
