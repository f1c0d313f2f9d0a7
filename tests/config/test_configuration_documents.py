"""The reference and the example file: complete, valid and up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ecluse.cli.config import check as check_command
from ecluse.cli.config import docs as docs_command
from ecluse.cli.config import example as example_command
from ecluse.config.document import example, render
from ecluse.config.fields import Key, keys_of
from ecluse.config.load import parse
from ecluse.config.schema import Configuration, HttpUpstream, LlamaCppUpstream, ScriptedUpstream
from ecluse.demonstration import ladder
from ecluse.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def every_key(table: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, Key]]:
    """All keys of the schema, each with the dotted path of its table."""
    for key in keys_of(table):
        yield path, key
        for inner in key.tables:
            yield from every_key(inner, f"{path}.{key.name}".lstrip("."))


def switched_on(text: str) -> str:
    """A file with each line that begins with "#" alone made live."""
    return re.sub(r"(?m)^#(?=[^\s#])", "", text)


def keys_by_table(text: str) -> set[tuple[str, str]]:
    """(table, key) of each ``key =`` line of a file, also of those that are switched off."""
    found, table = set(), ""
    for line in switched_on(text).splitlines():
        if header := re.match(r"\[+([\w.]+)\]", line):
            table = header[1]
        elif pair := re.match(r"(\w+) = ", line):
            found.add((table, pair[1]))
    return found


def test_example_is_valid() -> None:
    """As it stands, the example file changes nothing."""
    assert parse(example(), "example") == Configuration()


def test_example_is_valid_when_all_of_it_is_switched_on() -> None:
    """With every key switched on it is valid too, and has one upstream of each kind."""
    configuration = parse(switched_on(example()), "example")
    kinds = [type(upstream) for upstream in configuration.upstreams]
    assert kinds == [HttpUpstream, LlamaCppUpstream, ScriptedUpstream]
    assert [len(route.stages) for route in configuration.routes] == [2]


def test_example_is_complete() -> None:
    """Every key of the schema stands in the example file, in its table."""
    wanted = {(path, key.name) for path, key in every_key(Configuration) if not key.tables}
    assert keys_by_table(example()) == wanted


def test_example_shows_the_defaults() -> None:
    """A key that has a default stands there with it, so that switching it on changes nothing."""
    configuration = parse(switched_on(example()), "example")
    assert configuration.server == Configuration().server
    assert configuration.discovery == Configuration().discovery


def test_reference_is_complete() -> None:
    """Every key of the schema has its row in the reference."""
    text = render()
    for path, key in every_key(Configuration):
        assert not path or f"| `{key.name}` |" in text


def test_samples_of_the_reference_are_valid() -> None:
    """Whoever copies a sample from the reference has a valid file."""
    samples = re.findall(r"```toml\n(.*?)```", render(), re.DOTALL)
    assert len(samples) == 9
    for sample in samples:
        assert parse(sample, "sample") != Configuration() or sample.startswith("[demonstration]")


@pytest.mark.parametrize("text", [example(), render()], ids=["example", "reference"])
def test_any_console_can_print_them(text: str) -> None:
    """Neither needs more than ASCII, since a redirected console may have any encoding."""
    assert text.isascii()


def test_reference_is_up_to_date() -> None:
    """The committed reference is the schema's."""
    if (ROOT / "docs/configuration.md").read_text("utf-8") != render():
        pytest.fail("stale; run: ecluse config docs > docs/configuration.md")


def test_example_is_up_to_date() -> None:
    """The committed example file is the schema's."""
    if (ROOT / "ecluse.example.toml").read_text("utf-8") != example():
        pytest.fail("stale; run: ecluse config example > ecluse.example.toml")


def test_commands_print_them(capsys: pytest.CaptureFixture[str]) -> None:
    """``ecluse config example`` and ``docs`` print exactly the files."""
    example_command()
    assert capsys.readouterr().out == example()
    docs_command()
    assert capsys.readouterr().out == render()


def test_check_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ecluse config check`` tells what it read, and raises what is wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ECLUSE_CONFIG", raising=False)
    check_command()
    assert capsys.readouterr().out == "No configuration file: the defaults hold.\n"
    Path("ecluse.toml").write_text(switched_on(example()), "utf-8")
    model = tmp_path / "models" / "Qwen3-4B-Q4_K_M.gguf"
    model.parent.mkdir()
    model.write_bytes(ladder.rungs()[0].path.read_bytes())
    check_command()
    assert capsys.readouterr().out == "ecluse.toml: valid, with 3 upstreams and 1 route.\n"
    Path("wrong.toml").write_text("[server]\nprot = 1", "utf-8")
    with pytest.raises(ConfigurationError, match=r'wrong\.toml:2: unknown key "prot"'):
        check_command(config=Path("wrong.toml"))
