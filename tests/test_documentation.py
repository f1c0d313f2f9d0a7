"""What the documents tell readers to type, and where they send them, exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from ecluse.cli import app
from ecluse.config.load import parse

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ecluse"
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = (
    *GUIDES,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*/*.md")),
    *sorted(SOURCE.rglob("*.md")),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)([^`\n]+)\1")
LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


class Typed(NamedTuple):
    """A command line as it is written, with where; ``words`` come after ``ecluse``."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: ecluse {shlex.join(self.words)}"


def typed(file: Path, line: str) -> Typed | None:
    """The command line of ours in a line of a shell, without redirections; None if it has none."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    if words[:1] != ["ecluse"]:
        return None
    ends = (at for at, word in enumerate(words) if word in (">", "|", "&&", ";"))
    return Typed(str(file.relative_to(ROOT)), tuple(words[1 : next(ends, None)]))


def lines_to_type() -> Iterator[Typed]:
    """What stands in code blocks and in tables, to be typed as it is."""
    for file in DOCUMENTS:
        text = file.read_text("utf-8")
        lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
        for row in rows_of(text):
            lines += [span for _, span in SPAN.findall(row)]
        yield from filter(None, (typed(file, line) for line in lines if line.strip()))


def rows_of(text: str) -> list[str]:
    """The rows of its tables."""
    return [line for line in FENCE.sub("", text).splitlines() if line.startswith("|")]


def mentions() -> Iterator[Typed]:
    """Commands named in prose, and by our messages and docstrings."""
    for file in (*DOCUMENTS, *sorted(SOURCE.rglob("*.py"))):
        for _, span in SPAN.findall(FENCE.sub("", file.read_text("utf-8"))):
            if (found := typed(file, span)) is not None:
                yield found


def options_in_tables() -> Iterator[tuple[Typed, str]]:
    """The commands that begin a table's row, each with every option its other cells name."""
    for file in DOCUMENTS:
        for row in rows_of(file.read_text("utf-8")):
            first, *others = re.split(r"(?<!\\)\|", row.strip("|"))
            for _, span in SPAN.findall(first):
                for option in re.findall(r"`(--[\w-]+)", "|".join(others)):
                    if (found := typed(file, span)) is not None:
                        yield found, option


def accept(words: tuple[str, ...]) -> None:
    """Have the command line read; nothing is run. Raises CycloptsError."""
    app.parse_args(list(words), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("line", sorted(set(lines_to_type())), ids=str)
def test_a_line_to_type_is_accepted(line: Typed) -> None:
    """Whoever copies it gets no error of usage."""
    accept(line.words)


@pytest.mark.parametrize("mention", sorted(set(mentions())), ids=str)
def test_a_command_that_is_named_exists(mention: Typed) -> None:
    """Also in our own messages; what it must be given may be left out there."""
    with suppress(MissingArgumentError):
        accept(mention.words)


@pytest.mark.parametrize(("line", "option"), sorted(set(options_in_tables())), ids=str)
def test_an_option_beside_a_command_is_its_own(line: Typed, option: str) -> None:
    """A table's row names options of the command that it is about."""
    _, apps, _ = app.parse_commands(list(line.words))
    names = {
        name for argument in apps[-1].assemble_argument_collection() for name in argument.names
    }
    assert option in names


def test_what_is_looked_for_is_found() -> None:
    """The tests above look at what README shows, and what does not exist is refused."""
    shown = {" ".join(line.words) for line in lines_to_type()}
    assert {"serve", "doctor", "keys revoke bob", "report usage --by key --since 7d"} <= shown
    assert ("serve", "--port") in {(line.words[0], option) for line, option in options_in_tables()}
    assert "keys create" in {" ".join(mention.words) for mention in mentions()}
    for wrong in ("sevre", "keys make", "serve --prot 1", "report usage --by moon", "keys revoke"):
        with pytest.raises(CycloptsError):
            accept(tuple(wrong.split()))


def test_make_has_what_is_made() -> None:
    """Every ``make`` in a document names a target of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"run", "test"} <= targets
    for file in DOCUMENTS:
        text = file.read_text("utf-8")
        code = [block for _, block in FENCE.findall(text)]
        code += [span for _, span in SPAN.findall(FENCE.sub("", text))]
        made = re.findall(r"^(?:\w+=\S+ )*make (\w+)", "\n".join(code), re.MULTILINE)
        assert set(made) <= targets, file


def anchors(text: str) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    plain = (heading.strip().lower() for heading in HEADING.findall(FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def links(file: Path) -> Iterator[tuple[Path, str]]:
    """The files it links to, each with the anchor or nothing."""
    text = SPAN.sub("", FENCE.sub("", file.read_text("utf-8")))
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield (file.parent / path).resolve() if path else file, anchor


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    """To a file or a folder of this repository, and to a heading in it where one is named."""
    for target, anchor in links(file):
        assert target.is_relative_to(ROOT), target
        assert target.exists(), target
        assert not anchor or anchor in anchors(target.read_text("utf-8")), f"{target}#{anchor}"


def test_every_page_can_be_found() -> None:
    """Whoever follows links from README on comes to each page of docs/, if only in a folder."""
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page.is_dir():
            ahead += page.glob("*.md")
        elif page.suffix == ".md" and page not in seen:
            seen.add(page)
            ahead += [target for target, _ in links(page)]
    assert set((ROOT / "docs").rglob("*.md")) <= seen


@pytest.mark.parametrize("file", GUIDES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_are_named_exist(file: Path) -> None:
    """A path in a guide is one of the repository, or of the package."""
    for _, span in SPAN.findall(FENCE.sub("", file.read_text("utf-8"))):
        if re.fullmatch(r"[\w.-]+/[\w./-]*", span) and not span.startswith("."):
            assert (ROOT / span).exists() or (SOURCE / span).exists(), span


def test_pages_that_the_code_names_exist() -> None:
    """Comments and docstrings send their readers to pages that are there."""
    for file in sorted(SOURCE.rglob("*.py")):
        for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.md\b", file.read_text("utf-8")):
            assert (ROOT / page).is_file(), f"{file}: {page}"


def test_examples_are_valid() -> None:
    """README's configuration is one, and its Python compiles."""
    kinds = set()
    for kind, block in FENCE.findall((ROOT / "README.md").read_text("utf-8")):
        kinds.add(kind)
        if kind == "toml":
            parse(block, "README.md")
        elif kind == "python":
            compile(block, "README.md", "exec")
    assert {"sh", "python", "toml"} <= kinds
