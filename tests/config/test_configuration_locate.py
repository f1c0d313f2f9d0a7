"""The line of a key: known documents, generated ones, and any text at all."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from ecluse.config.locate import KeyPath, locate, positions

DOCUMENT = '''\
title = "x"  # not [a.table]

[server]
port = 4242
"quoted key" = 1
'literal.key' = 2
dotted.inner.key = 3
"tab\\tkey" = 4
text = """
[fake]
port = 1 \\"""
quotes""""
raw = \'\'\'
[fake2] # \\\'\'\'
list = [ # comment ]
    1,

    [2, 3],
    { a = 1, b.c = [
        4,
    ] },
]

[[upstreams]]
name = "first"

  [[upstreams.models]]
  name = "m0"
  [[upstreams.models]]
  [upstreams.models.price]
  prompt = 1.5
[[upstreams]]
models = [{ name = "m1" }, { name = "m2" }]
date = 1979-05-27 07:32:00.999  # , ]
[late.table]
[late]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 1),
        (("server",), 3),
        (("server", "port"), 4),
        (("server", "quoted key"), 5),
        (("server", "literal.key"), 6),
        (("server", "dotted", "inner", "key"), 7),
        (("server", "tab\tkey"), 8),
        (("server", "raw"), 13),
        (("server", "list"), 15),
        (("server", "list", 0), 16),
        (("server", "list", 1, 1), 18),
        (("server", "list", 2, "a"), 19),
        (("server", "list", 2, "b", "c", 0), 20),
        (("upstreams",), 24),
        (("upstreams", 0, "models", 0, "name"), 28),
        (("upstreams", 0, "models", 1), 29),
        (("upstreams", 0, "models", 1, "price", "prompt"), 31),
        (("upstreams", 1), 32),
        (("upstreams", 1, "models", 1, "name"), 33),
        (("upstreams", 1, "date"), 34),
        (("late", "table"), 35),
        (("late",), 36),
    ],
)
def test_known_lines(path: KeyPath, line: int) -> None:
    """Every way of writing a key is found where it stands."""
    assert set(positions(DOCUMENT)) == set(paths_of(tomllib.loads(DOCUMENT)))
    assert locate(DOCUMENT, path) == line


def test_missing_key_has_the_line_of_its_table() -> None:
    """What does not stand there is blamed on the nearest table around it, else on the top."""
    assert locate(DOCUMENT, ("upstreams", 0, "models", 1, "price", "nothing", "here")) == 30
    assert locate(DOCUMENT, ("nowhere", 3)) == 1
    assert locate("", ("server", "port")) == 1


def test_quotes_before_closing_quotes() -> None:
    """A string may end in quotes of its own kind: they do not begin another one."""
    text = 'x = ["""a"""", "b",\n\'\'\'c\'\'\'\', \'d\',\n"""""e""""", 1]'
    assert set(positions(text)) == set(paths_of(tomllib.loads(text)))
    assert [locate(text, ("x", index)) for index in range(6)] == [1, 1, 2, 2, 3, 3]


def test_windows_line_ends_count_once() -> None:
    """A carriage return is not a line of its own."""
    assert locate(DOCUMENT.replace("\n", "\r\n"), ("upstreams", 1, "date")) == 34


def paths_of(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of everything in a decoded document but the document itself."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths_of(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths_of(item, (*path, index))


class Writer:
    """Writes TOML and remembers in which line each key came to stand."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.keys = 0

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def new_key(self) -> tuple[str, str]:
        """A name that was not used before, and a way to write it."""
        self.keys += 1
        bare = f"k-{self.keys}"
        odd = f"k.{self.keys} = [#'"
        return self.draw(
            st.sampled_from(
                [
                    (bare, bare),
                    (bare, f'"k\\u002d{self.keys}"'),
                    (odd, f'"{odd}"'),
                    (f'"{bare}]', f"'\"{bare}]'"),
                ]
            )
        )

    def gap(self, *, lines: bool) -> None:
        """Space, and where a value may span lines also comments and line ends."""
        choices = ["", " ", "\t"]
        if lines:
            choices += ["\n", " # ] } , [x]\n", '#"""\n\n']
        self.text += self.draw(st.sampled_from(choices))

    def scalar(self) -> None:
        self.text += self.draw(
            st.sampled_from(
                [
                    "1",
                    "-1.5e-3",
                    "true",
                    "1979-05-27T07:32:00Z",
                    "1979-05-27 07:32:00.5",
                    '"# \\" ] } , = \\\\"',
                    "'\\'",
                    '""',
                    '""""""',
                    "''''''",
                    '"""\n[decoy]\nport = 1\n\\""" """""',
                    '"""four quotes end this""""',
                    "'''and this''''",
                    "'''\n[[decoy]]\nx = [\n'''''",
                ]
            )
        )

    def value(self, path: KeyPath, depth: int) -> None:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "list", "table"]))
        if kind == "scalar" or depth == 0:
            self.scalar()
        elif kind == "list":
            self.list(path, depth)
        else:
            self.text += "{"
            for number in range(self.draw(st.integers(0, 3))):
                self.text += "," if number else ""
                self.gap(lines=False)
                self.pair(path, depth - 1)
                self.gap(lines=False)
            self.text += "}"

    def list(self, path: KeyPath, depth: int) -> None:
        self.text += "["
        length = self.draw(st.integers(0, 3))
        for index in range(length):
            self.gap(lines=True)
            self.note((*path, index))
            self.value((*path, index), depth - 1)
            self.gap(lines=True)
            if index + 1 < length or self.draw(st.booleans()):
                self.text += ","
        self.gap(lines=True)
        self.text += "]"

    def pair(self, path: KeyPath, depth: int) -> None:
        for number in range(self.draw(st.integers(1, 2))):
            name, written = self.new_key()
            path = (*path, name)
            self.note(path)
            self.text += (" . " if number else "") + written
        self.text += " = "
        self.value(path, depth)

    def section(self, arrays: dict[str, int]) -> None:
        """A header (of a new table, of another entry of a list, of a table in one) and pairs."""
        kind = self.draw(st.sampled_from(["table", "array", "again", "within"]))
        again = self.draw(st.sampled_from(sorted(arrays))) if arrays else None
        name, written = self.new_key()
        if kind == "table" or (kind != "array" and again is None):
            path: KeyPath = (name,)
            self.note(path)
            self.text += f"[ {written} ]"
        elif kind == "within" and again is not None:
            path = (again, arrays[again] - 1, name)
            self.note(path)
            self.text += f"[{tomlkit.key(again).as_string()}.{written}]"
        else:
            key = again if kind == "again" and again is not None else name
            index = arrays.get(key, 0)
            arrays[key] = index + 1
            path = (key, index)
            self.note((key,))
            self.note(path)
            self.text += f"[[{tomlkit.key(key).as_string()}]]"
        self.body(path)

    def body(self, path: KeyPath) -> None:
        self.gap(lines=False)
        self.text += "\n"
        for _ in range(self.draw(st.integers(0, 3))):
            self.gap(lines=True)
            self.pair(path, depth=2)
            self.text += "\n"


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """A valid document and the line of everything in it."""
    writer = Writer(draw)
    writer.body(())
    arrays: dict[str, int] = {}
    for _ in range(draw(st.integers(0, 4))):
        writer.section(arrays)
    return writer.text, writer.lines


@given(documents())
def test_generated_documents(document: tuple[str, dict[KeyPath, int]]) -> None:
    """All keys of a document, and nothing else, are found in the lines they were written to."""
    text, lines = document
    assert set(lines) == set(paths_of(tomllib.loads(text)))
    assert positions(text) == lines


scalars = st.booleans() | st.integers(-100, 100) | st.text() | st.dates()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_documents_of_another_writer(content: dict[str, object]) -> None:
    """Whatever keys tomlkit writes, the scanner sees those which tomllib reads."""
    try:
        text = tomlkit.dumps(content)
        read = tomllib.loads(text)
    except (ValueError, tomlkit.exceptions.TOMLKitError):
        return  # tomlkit's own limits; not about us
    assert set(positions(text)) == set(paths_of(read))


@given(st.text() | st.text(alphabet="[]{}=.,\"'#\n\\ ab1"))
def test_ends_on_any_text(text: str) -> None:
    """What is no TOML gives a guess within the text, and no error."""
    assert all(1 <= line <= text.count("\n") + 1 for line in positions(text).values())
