"""Reading a configuration: what is valid, and the sentence for each mistake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import tomlkit
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st

from ecluse.config.document import example
from ecluse.config.fields import keys_of
from ecluse.config.load import Loaded, load, parse
from ecluse.config.schema import (
    Configuration,
    GgufEntry,
    HttpUpstream,
    LlamaCppUpstream,
    ScriptedUpstream,
)
from ecluse.domain.errors import ConfigurationError

HTTP = '[[upstreams]]\nkind = "http"\nname = "far"\nurl = "http://far/v1"\n'
MODEL = '[[upstreams.models]]\nname = "small"\n'
GGUF = '[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n'
SCRIPTED = '[[upstreams]]\nkind = "scripted"\nname = "parrot"\n'
KINDS = '"http", "llama_cpp" or "scripted"'


def mistake(text: str) -> str:
    """The message a text is refused with, without the name of the file."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "ecluse.toml")
    message = str(caught.value)
    assert message.startswith("ecluse.toml:")
    return message.removeprefix("ecluse.toml:")


def test_nothing_is_valid() -> None:
    """An empty file, or none, is the defaults."""
    assert parse("", "ecluse.toml") == Configuration()
    assert load(None, 7) == Loaded(Configuration(), None, 7)
    defaults = Configuration()
    assert (defaults.server.host, defaults.server.port) == ("127.0.0.1", 4242)
    assert len(defaults.upstreams) == len(defaults.routes) == len(defaults.discovery.paid) == 0


def test_all_kinds_of_upstreams() -> None:
    """Each kind becomes its own type, with its defaults."""
    models = '[[upstreams.models]]\nname = "q"\nfile = "q.gguf"\n'
    http, gguf, scripted = parse(HTTP + GGUF + models + SCRIPTED, "x").upstreams
    assert http == HttpUpstream(name="far", url="http://far/v1")
    assert gguf == LlamaCppUpstream(name="here", models=(GgufEntry(name="q", file="q.gguf"),))
    assert scripted == ScriptedUpstream(name="parrot")
    assert isinstance(http, HttpUpstream)
    assert http.first_token_seconds == 300.0


def tables(value: object) -> Iterator[msgspec.Struct]:
    """All tables of a configuration, the root included."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from tables(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from tables(item)


def test_frozen_to_the_bottom() -> None:
    """No table of a configuration can be changed or extended, and it can be hashed."""
    text = "\n".join(
        line[1:] if line.startswith("#") and line[1:2] not in ("", " ") else line
        for line in example().splitlines()
    )
    configuration = parse(text, "x")
    hash(configuration)
    found = list(tables(configuration))
    assert len(found) > 12
    for table in found:
        with pytest.raises(AttributeError):
            setattr(table, table.__struct_fields__[0], None)


def test_every_key_is_described() -> None:
    """No key is without a sentence on what it means, nor without an example if it needs one."""
    for table in {type(table) for table in tables(parse(example(), "x"))} | {HttpUpstream}:
        for key in keys_of(table):
            assert key.description.endswith("."), key.name
            assert key.examples or key.tables or key.default is not None, key.name


UNKNOWN_KEYS = {
    "[server]\n\nprot = 1": '3: unknown key "prot" in [server]. Did you mean "port"?',
    "server = {\tPort = 1 }": '1: unknown key "Port" in [server]. Did you mean "port"?',
    "port = 1": '1: unknown key "port" in the file. "port" belongs in [server].',
    "[sever]": '1: unknown key "sever" in the file. Did you mean "server"?',
    HTTP + 'api_key = "x"': '5: unknown key "api_key" in [[upstreams]]. Did you mean "key_env"?',
    HTTP + 'base_url = "x"': '5: unknown key "base_url" in [[upstreams]]. Did you mean "url"?',
    SCRIPTED + 'url = "x"': '4: unknown key "url" in [[upstreams]]. '
    "Known here: kind, name, model, reply, delay_ms, chunk_ms.",
    HTTP + MODEL + "price = { promt_per_million = 1 }": "7: unknown key "
    '"promt_per_million" in [upstreams.models.price]. Did you mean "prompt_per_million"?',
    '[demonstration]\n"odd\\n`key`" = 1': '2: unknown key "odd\\n`key`" in [demonstration]. '
    "Known here: enabled.",
    'routes = [{ name = "r", stages = [{ model = "a" },\n{ modle = "b" }] }]': "2: unknown key "
    '"modle" in [[routes.stages]]. Did you mean "model"?',
}

WRONG_VALUES = {
    '[server]\nport = "80"': "2: server.port: expected an integer, got a string",
    "[server]\nport = 80.5": "2: server.port: expected an integer, got a number",
    "[server]\nport = true": "2: server.port: expected an integer, got a boolean",
    "[server]\nport = 70000": "2: server.port: expected an integer of at most 65535, got 70000",
    "[server]\nport = -1": "2: server.port: expected an integer of at least 0, got -1",
    "[server]\nhost = 2020-01-01": "2: server.host: expected a string, got a date",
    '[server]\nhost = ""': "2: server.host: expected some text",
    "[server]\ndrain_seconds = nan": "2: server.drain_seconds: expected a number of at least 0, "
    "got NaN",
    "[server]\ndrain_seconds = 1e999": "2: server.drain_seconds: expected a number of at most "
    "86400, got 1E+999",
    "[server]\ndrain_seconds = 1e9999999999999999999": "2: server.drain_seconds: expected a "
    "number of at least 0, got NaN",
    "[server]\nmax_body_bytes = 9223372036854775808": "2: server.max_body_bytes: an integer of "
    "TOML has at most 64 bits",
    '[server]\nlog = "jsn"': '2: server.log: expected "json" or "text", got "jsn". '
    'Did you mean "json"?',
    '[server]\nroot_path = "ai/"': "2: server.root_path: expected nothing, or a path which begins "
    "with '/' and does not end with one",
    '[server]\ntrusted_proxies = ["::1",\n"proxy"]': "3: server.trusted_proxies[1]: expected an "
    'address or a network such as "127.0.0.1" or "10.0.0.0/8"',
    "[discovery]\nlocal = 1": "2: discovery.local: expected true or false, got an integer",
    "[discovery]\npaid = [\n'a',\n2]": "4: discovery.paid[1]: expected a string, got an integer",
    "server = 3": "1: server: expected a table, got an integer",
    "[upstreams]": "1: upstreams: expected a list, got a table",
    HTTP.replace("http", "htp", 1): f'2: upstreams[0].kind: expected {KINDS}, got "htp". '
    'Did you mean "http"?',
    HTTP.replace('"far"', '"so far"'): "3: upstreams[0].name: expected a name made of letters, "
    "digits, '.', '_' and '-'",
    HTTP.replace('"far"', '"far\\n"'): "3: upstreams[0].name: expected a name made of letters, "
    "digits, '.', '_' and '-'",
    HTTP + 'key_env = "sk-secret"': "5: upstreams[0].key_env: expected the name of an environment "
    "variable (never the key itself)",
    HTTP + "connect_seconds = 0": "5: upstreams[0].connect_seconds: expected a number above 0, "
    "got 0",
    HTTP + MODEL + "price = { prompt_per_million = 1,\tcompletion_per_million = 'x' }": "7: "
    "upstreams[0].models[0].price.completion_per_million: expected an amount such as 0.15 or "
    '"0.15"',
    HTTP + MODEL + "context_tokens = 0": "7: upstreams[0].models[0].context_tokens: expected an "
    "integer of at least 1, got 0",
    GGUF + "models = []": "4: upstreams[0].models: expected at least one entry",
    '[[routes]]\nname = "r"\nstages = []': "3: routes[0].stages: expected at least one entry",
    '[[routes]]\nname = "r"\nstages = [{ model = "m", accept_least_logprob = 1 }]': "3: "
    "routes[0].stages[0].accept_least_logprob: expected a number of at most 0, got 1",
    '[[routes]]\nname = "r"\nstages = [{ model = "m", accept_least_logprob = -inf }]': "3: "
    "routes[0].stages[0].accept_least_logprob: expected a number of at least -1000, got -Infinity",
}

MISSING_KEYS = {
    '\n[[upstreams]]\nname = "x"': f'2: [[upstreams]] lacks the key "kind". It is {KINDS}.',
    '[[upstreams]]\nkind = "http"\nname = "x"': '1: [[upstreams]] lacks the key "url". '
    "url: base address, up to and with /v1 where the server has it; a query goes with every "
    "request.",
    HTTP + "[[upstreams.models]]": '5: [[upstreams.models]] lacks the key "name". '
    "name: what clients call it.",
    HTTP + MODEL + "[upstreams.models.price]": "7: [upstreams.models.price] lacks the key "
    '"prompt_per_million". prompt_per_million: price of a million prompt tokens.',
    GGUF: '1: [[upstreams]] lacks the key "models". models: the files it serves.',
}

CONTRADICTIONS = {
    HTTP + SCRIPTED.replace("parrot", "far"): "7: upstreams[1].name: another upstream is called "
    '"far" (line 3). Give each its own name.',
    HTTP + MODEL + MODEL: "8: upstreams[0].models[1].name: the upstream has another model called "
    '"small" (line 6). Give each its own name.',
    GGUF + 'models = [{ name = "q", file = "a" },\n{ name = "q", file = "b" }]': "5: "
    'upstreams[0].models[1].name: the upstream has another model called "q" (line 4). '
    "Give each its own name.",
    '[[routes]]\nname = "r"\nstages = [{ model = "m" }]\n' * 2: "5: routes[1].name: another route "
    'is called "r" (line 2). Give each its own name.',
    '[[routes]]\nname = "scripted"\nstages = [{ model = "m" }]\n' + SCRIPTED: "2: routes[0].name: "
    'a model is called "scripted" too (line 4). Rename one of them.',
    '[[routes]]\nname = "small"\nstages = [{ model = "m" }]\n' + HTTP + MODEL: "2: routes[0].name: "
    'a model is called "small" too (line 9). Rename one of them.',
    '[[routes]]\nname = "r"\n[[routes.stages]]\nmodel = "a"\n[[routes.stages]]\nmodel = "b"': "3: "
    "routes[0].stages[0]: every answer of this stage is accepted, so those after it are never "
    "reached. Give it accept_least_logprob, or make it the last.",
    HTTP.replace("http://", "ftp://"): "4: upstreams[0].url: expected an address which begins with "
    "http:// or https://",
    HTTP.replace("http://far", "http://"): "4: upstreams[0].url: expected an address which begins "
    "with http:// or https://",
    HTTP.replace("http://far", "http://far:99999"): "4: upstreams[0].url: expected an address such "
    "as http://127.0.0.1:8080/v1",
    HTTP.replace("http://far", "http://me:secret@far"): "4: upstreams[0].url: a name or password "
    "in the address would be a key in the file. "
    "Put it into an environment variable and name that in key_env.",
    # Two mistakes: the upper one is told, though it is looked for later.
    '[[routes]]\nname = "r"\nstages = [{ model = "a" }, { model = "b" }]\n' + HTTP + HTTP: "3: "
    "routes[0].stages[0]: every answer of this stage is accepted, so those after it are never "
    "reached. Give it accept_least_logprob, or make it the last.",
}

SYNTAX = {
    "[server]\nport 80": "2:6: not valid TOML: expected '=' after a key in a key/value pair.",
    "[server]\n[server]\n": "2:8: not valid TOML: cannot declare ('server',) twice.",
    "port = '''\n": "2:1: not valid TOML: expected \"'''\".",
    "port = " + "9" * 5000: " a number in it has too many digits.",
    "port = " + "[" * 5000: " its lists are nested too deeply.",
}


@pytest.mark.parametrize(
    ("text", "message"),
    (UNKNOWN_KEYS | WRONG_VALUES | MISSING_KEYS | CONTRADICTIONS | SYNTAX).items(),
)
def test_mistakes(text: str, message: str) -> None:
    """Each mistake is told with its line, its key and what would be right."""
    assert mistake(text) == message


def test_secrets_are_not_repeated() -> None:
    """A key that somebody pasted into the file does not reach the log."""
    assert "secret" not in mistake(HTTP + 'key_env = "sk-secret"')
    for login in ("sk-secret", ":sk-secret", "me:sk-secret"):
        message = mistake(HTTP.replace("http://", f"http://{login}@"))
        assert "would be a key in the file" in message
        assert "secret" not in message


def test_file(tmp_path: Path) -> None:
    """A file is read with its place and number; relative paths count from its folder."""
    file = tmp_path / "ecluse.toml"
    file.write_bytes(b'\xef\xbb\xbf[storage]\r\ndirectory = "data"\r\n')
    loaded = load(file, generation=3)
    assert loaded.source == file
    assert loaded.generation == 3
    assert loaded.resolve("models/x.gguf") == tmp_path / "models" / "x.gguf"
    assert loaded.resolve("/elsewhere/x.gguf") == Path("/elsewhere/x.gguf").absolute()
    assert loaded.storage_folder({}, "linux", Path("/home/x")) == tmp_path / "data"
    assert load(None).storage_folder({"ECLUSE_HOME": "/e"}, "linux", Path("/h")) == Path("/e")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file tells how to make one; another encoding and a folder are named as such."""
    file = tmp_path / "ecluse.toml"
    with pytest.raises(ConfigurationError, match=r"no such file\. Make one with: ecluse config ex"):
        load(file)
    file.write_bytes(b"[server]\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"ecluse\.toml:2: the file is not UTF-8"):
        load(file)
    file.write_bytes("port = 1".encode("utf-16"))
    with pytest.raises(ConfigurationError, match="Save it as UTF-8"):
        load(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)


def survives(text: str) -> None:
    """Parse; only a ConfigurationError may come out, in a single line."""
    try:
        parse(text, "ecluse.toml")
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are fine


@given(st.text())
@with_example('"a` - at `$.server" = 1')
@with_example("server.port = 0x" + "f" * 10_000)
def test_any_text(text: str) -> None:
    """No text can bring out another error."""
    survives(text)


@given(st.data())
def test_damaged_example(data: st.DataObject) -> None:
    """Nor can the example file with some of it cut out and something else put in."""
    text = example().replace("\n#", "\n")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    inserted = data.draw(st.text(max_size=5) | st.sampled_from(["[", "]]", "=", '"', "\n#", "-"]))
    survives(text[:start] + inserted + text[end:])


names = st.sampled_from(
    [key.name for table in (Configuration, HttpUpstream, GgufEntry) for key in keys_of(table)]
    + ["port", "host", "stages", "price", "prompt_per_million", "x"]
)
values = st.recursive(
    st.sampled_from(["http", "llama_cpp", "scripted", "", "a", -1, 0, 1, 2**70, 1.5, True])
    | st.floats()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(names, values, max_size=4))
def test_right_keys_with_wrong_values(content: dict[str, object]) -> None:
    """Nor can known keys with values of all sorts at all depths."""
    survives(tomlkit.dumps(content))
