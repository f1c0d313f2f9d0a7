"""The line of a key in a TOML text.

No parser at hand tells where a value stood, so this small scanner does. It expects a text that a
real parser has accepted: on any other it ends too, with a guess.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Names of keys and, inside lists, indices from 0: ``("upstreams", 1, "url")``."""

_TOKEN = re.compile(
    r"""
      (?P<string>
          \"{3} (?:[^\\]|\\.)*? \"{3} \"{0,2}     # up to two quotes may precede the closing three
        | '{3} .*? '{3} '{0,2}
        | \" (?:[^"\\\n]|\\.)* \"
        | ' [^'\n]* '
      )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<word> [A-Za-z0-9_-]+ )
    | (?P<mark> \S )
    """,
    re.VERBOSE | re.DOTALL,
)


def locate(text: str, path: KeyPath) -> int:
    """The line, counted from 1, of the key, or of the nearest table around it that stands there."""
    lines = positions(text)
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def positions(text: str) -> dict[KeyPath, int]:
    """The lines of all keys, tables and list elements.

    A table has the line of its header, or of the first key that implies it.
    """
    return _Scanner(text).scan()


class _Token(NamedTuple):
    kind: str
    text: str
    line: int

    @property
    def ends_value(self) -> bool:
        """Whether a number, date or text before it is over."""
        return self.kind in ("newline", "comment") or self.is_mark(",]}")

    def is_mark(self, marks: str) -> bool:
        """Whether it is one of these characters, outside of any string."""
        return self.kind == "mark" and self.text in marks


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        yield _Token(match.lastgroup or "mark", match.group(), line)
        line += match.group().count("\n")


class _Open:
    """A list or inline table that has begun and not ended."""

    def __init__(self, path: KeyPath, is_table: bool) -> None:
        self.path = path
        self.is_table = is_table
        self.index = 0


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._lengths: dict[KeyPath, int] = {}  # of the arrays of tables so far
        self._table: KeyPath = ()

    def scan(self) -> dict[KeyPath, int]:
        while (token := self._take()) is not None:
            if token.kind in ("newline", "comment"):
                continue
            if token.is_mark("["):
                self._header(token.line)
            else:
                self._put_back()
                self._value(self._key(self._table))
        return self._lines

    def _take(self) -> _Token | None:
        if self._at >= len(self._tokens):
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def _put_back(self) -> None:
        self._at -= 1

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _names(self, end: str) -> list[str]:
        """The parts of a dotted key, up to and with the mark that ends it."""
        names = []
        while (token := self._take()) is not None and not token.is_mark(end):
            if token.kind == "word":
                names.append(token.text)
            elif token.kind == "string":
                names.append(_unquoted(token.text))
        return names

    def _header(self, line: int) -> None:
        following = self._peek()
        is_array = following is not None and following.is_mark("[")
        names = self._names("]")
        if not names:
            return
        path: KeyPath = ()
        for name in names[:-1]:
            path = (*path, name)
            self._lines.setdefault(path, line)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        path = (*path, names[-1])
        if is_array:
            self._take()  # the second closing bracket
            self._lines.setdefault(path, line)
            index = self._lengths.get(path, 0)
            self._lengths[path] = index + 1
            path = (*path, index)
        self._lines[path] = line  # even if a table within it stood before
        self._table = path

    def _key(self, path: KeyPath) -> KeyPath:
        """Read ``a.b =`` inside the table at ``path``."""
        token = self._peek()
        for name in self._names("="):
            path = (*path, name)
            self._lines.setdefault(path, token.line if token else 1)
        return path

    def _value(self, path: KeyPath) -> None:
        """Read a value with everything in it; a stack instead of recursion bounds the depth."""
        nested: list[_Open] = []
        self._begin(path, nested)
        while nested and (token := self._take()) is not None:
            inner = nested[-1]
            if token.kind in ("newline", "comment"):
                continue
            if token.is_mark("]}"):
                nested.pop()
            elif token.is_mark(","):
                inner.index += 1
            else:
                self._put_back()
                if inner.is_table:
                    self._begin(self._key(inner.path), nested)
                else:
                    self._lines[*inner.path, inner.index] = token.line
                    self._begin((*inner.path, inner.index), nested)

    def _begin(self, path: KeyPath, nested: list[_Open]) -> None:
        token = self._take()
        if token is None:
            return
        if token.is_mark("[{"):
            nested.append(_Open(path, is_table=token.text == "{"))
            return
        while (following := self._peek()) is not None and not following.ends_value:
            self._take()


def _unquoted(text: str) -> str:
    if text[0] == '"' and "\\" in text:
        try:
            return str(tomllib.loads(f"key = {text}")["key"])
        except tomllib.TOMLDecodeError:
            pass
    return text[1:-1]
