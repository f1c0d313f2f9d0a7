"""A configuration that is valid and still doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecluse.cli.config import check
from ecluse.cli.serve import serve
from ecluse.config.load import parse
from ecluse.diagnosis.advice import about_route, unset_keys, warnings
from ecluse.domain.errors import ModelFileBroken

OWN = '[[upstreams]]\nkind = "scripted"\nname = "parrot"\nmodel = "small"\n'
UNLISTED = '[[upstreams]]\nkind = "http"\nname = "any"\nurl = "http://127.0.0.1:1/v1"\n'
WITH_KEY = f'{UNLISTED}key_env = "SOME_KEY"\n'


def route(model: str) -> str:
    """A route of one stage."""
    return f'[[routes]]\nname = "r"\n[[routes.stages]]\nmodel = "{model}"\n'


def told(text: str) -> list[str]:
    """The warnings of a configuration."""
    configuration = parse(text, "ecluse.toml")
    return [*unset_keys(configuration, {}), *warnings(configuration)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN + route("smal"), 'has the model "smal"; only one that is found by itself could. Did'),
        (OWN + route("smal"), 'Did you mean "small"?'),
        (OWN + route("gpt-9"), "only one that is found by itself could."),
        (OWN + UNLISTED + route("smal"), 'Did you mean "small"?'),
        ('[discovery]\npaid = ["opnai"]\n', 'no supplier is called "opnai". Did you mean "openai"'),
        ('[discovery]\npaid = ["zzz"]\n', "Known are openai, "),
        (WITH_KEY, "Upstream any: the environment variable which its key_env names is not set"),
    ],
)
def test_what_is_doubtful_is_told(text: str, words: str) -> None:
    """With the near name, where there is one."""
    (warning,) = told(text)
    assert words in warning


@pytest.mark.parametrize(
    "text",
    [
        OWN + route("small"),
        route("demo-large"),
        UNLISTED + route("llama3.2"),
        '[discovery]\npaid = ["mistral"]\n',
    ],
)
def test_what_may_well_be_is_not_doubted(text: str) -> None:
    """An upstream that is asked what it serves may serve anything."""
    assert told(text) == []


def test_a_key_that_is_set() -> None:
    """Only then it starts."""
    assert list(unset_keys(parse(WITH_KEY, "ecluse.toml"), {"SOME_KEY": "sk"})) == []


def test_both_checks_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ecluse config check`` and ``ecluse serve --check``, beside what they always say."""
    file = tmp_path / "ecluse.toml"
    file.write_text(OWN + route("smal"), "utf-8")
    check(config=file)
    serve(config=file, check=True)
    printed = capsys.readouterr()
    assert printed.out.count("valid") == 2
    assert printed.err.count('Did you mean "small"?') == 2


def test_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    """It could not start: that is no warning."""
    file = tmp_path / "ecluse.toml"
    file.write_text(
        '[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n'
        '[[upstreams.models]]\nname = "m"\nfile = "missing.gguf"\n',
        "utf-8",
    )
    with pytest.raises(ModelFileBroken, match=r"missing\.gguf"):
        check(config=file)
    with pytest.raises(ModelFileBroken, match=r"missing\.gguf"):
        serve(config=file, check=True)


def test_names_of_routes() -> None:
    """What a key is made for: a route, a model, or one of those that are always there."""
    configuration = parse(OWN + route("small"), "ecluse.toml")
    for known in ("r", "small", "auto", "demo", "demo-small"):
        assert about_route(known, configuration) is None
    assert 'Did you mean "small"?' in str(about_route("smal", configuration))
    assert about_route("nope", configuration) is not None
