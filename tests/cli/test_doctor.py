"""``ecluse doctor`` as a process, and its network checks over real sockets."""

import asyncio
import json
import os
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ecluse.adapters.store.migrate import migrate
from ecluse.adapters.store.store import DATABASE_NAME, open_store
from ecluse.adapters.system_clock import SystemClock
from ecluse.administration import KeyAdministration
from ecluse.config.schema import Configuration, Discovery, HttpUpstream
from ecluse.demonstration import ladder
from ecluse.diagnosis import network
from ecluse.diagnosis.finding import Level
from ecluse.diagnosis.storage import storage

SECRET = "sk-test-0123456789abcdef"
QUIET = """\
[server]
port = 0
[storage]
directory = "data"
[discovery]
local = false
[demonstration]
enabled = false
"""
PARROT = '[[upstreams]]\nkind = "scripted"\nname = "parrot"\n'


class Told:
    """What a run of the doctor said."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output

    def finding(self, title: str) -> dict[str, Any]:
        """The one finding of a title, from the JSON form."""
        (found,) = [f for f in json.loads(self.output) if f["title"] == title]
        return dict(found)


async def doctor(folder: Path, text: str, *options: str, **environment: str) -> Told:
    """Run the doctor on a configuration, with nothing else of this machine's environment."""
    (folder / "ecluse.toml").write_text(text, "utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(folder), "PYTHONUTF8": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ecluse", "doctor", "--config", "ecluse.toml", *options),
        cwd=folder,
        env=kept | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in errors, errors.decode()
    return Told(process.returncode or 0, output.decode())


@asynccontextmanager
async def serving(*routes: web.RouteDef, name: str = "other") -> AsyncIterator[int]:
    """Serve some paths on a free port, and tell the port."""

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["server"] = name

    application = web.Application()
    application.add_routes(routes)
    application.on_response_prepare.append(sign)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def answers(path: str, value: object, status: int = 200) -> web.RouteDef:
    """A path that answers with a JSON value."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(value, status=status)

    return web.get(path, answer)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("trouble", "mended_by"),
    [
        ('ImportError("libgomp.so.1: cannot open shared object file")', "apt-get install libgomp1"),
        ('ImportError("undefined symbol")', "pip install --force-reinstall xllamacpp"),
    ],
)
async def test_an_engine_that_does_not_load(tmp_path: Path, trouble: str, mended_by: str) -> None:
    """What is missing is told with how to get it: a bare Debian has no OpenMP library."""
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    (fakes / "xllamacpp.py").write_text(f"raise {trouble}", "utf-8")
    path = os.pathsep.join([str(fakes), *sys.path])
    told = await doctor(tmp_path, QUIET + PARROT, "--json", PYTHONPATH=path)
    finding = told.finding("llama.cpp")
    assert finding["level"] == Level.WARNING
    assert mended_by in finding["next_step"]
    assert told.status == 0, "others can answer"


async def test_all_is_well_with_something_that_answers(tmp_path: Path) -> None:
    """Exit code 0, a line a check, at most 80 columns, and not a trace left in the folder."""
    told = await doctor(tmp_path, QUIET + PARROT)
    assert told.status == 0, told.output
    assert "✓ Answers" in told.output
    assert "✗" not in told.output
    assert max(map(len, told.output.splitlines())) <= 80
    assert os.listdir(tmp_path) == ["ecluse.toml"]  # noqa: PTH208 - no waiting on a local folder


async def test_a_served_gguf_is_told_with_its_facts(tmp_path: Path) -> None:
    """A model file is shown with parameters and context, its model can be asked."""
    file = ladder.rungs()[0]
    model = f'[[upstreams.models]]\nname = "tiny"\nfile = "{file.path}"\n'
    text = f'{QUIET}[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n{model}'
    told = await doctor(tmp_path, text, "--json")
    assert told.status == 0, told.output
    finding = told.finding("Model tiny")
    assert finding["models"] == ["tiny"]
    assert f"context {file.context_tokens} tokens" in finding["detail"]


@pytest.mark.parametrize("content", [None, b"GGUF\x03\0\0\0 and then nothing sensible"])
async def test_a_bad_gguf_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    """A missing and a broken file end in exit code 1, each with a next step."""
    if content is not None:
        (tmp_path / "model.gguf").write_bytes(content)
    model = '[[upstreams.models]]\nname = "tiny"\nfile = "model.gguf"\n'
    text = f'{QUIET}{PARROT}[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n{model}'
    told = await doctor(tmp_path, text, "--json")
    assert told.status == 1
    finding = told.finding("Model tiny")
    assert finding["level"] == "broken"
    assert "model.gguf" in finding["detail"]
    assert finding["next_step"]


async def test_a_broken_configuration_is_told_with_its_line(tmp_path: Path) -> None:
    """The sentence of the configuration's own error, and exit code 1."""
    told = await doctor(tmp_path, "[server]\nprot = 4242\n")
    assert told.status == 1
    assert "✗ Configuration" in told.output
    assert "ecluse.toml:2:" in told.output
    assert 'Did you mean "port"?' in told.output.replace("\n" + " " * 23, " ")


async def test_nothing_to_answer_is_exit_code_1(tmp_path: Path) -> None:
    """A valid configuration without anything that answers is not enough."""
    told = await doctor(tmp_path, QUIET, "--json")
    assert told.status == 1
    answers = told.finding("Answers")
    assert answers["level"] == "broken"
    assert "Ollama" in answers["next_step"]


async def test_the_database_is_read_and_left_alone(tmp_path: Path) -> None:
    """Revision and valid keys are told, and not a byte in the folder changes."""
    async with open_store(tmp_path / "data") as store:
        keys = KeyAdministration(store.keys, SystemClock())
        await keys.create("stays", None, None)
        gone, text = await keys.create("goes", None, None)
        await keys.revoke(gone.key_id)
    before = {file.name: file.read_bytes() for file in (tmp_path / "data").iterdir()}
    told = await doctor(tmp_path, QUIET + PARROT, "--json")
    assert told.status == 0, told.output
    assert "revision 0001" in told.finding("Database")["detail"]
    assert told.finding("Keys")["detail"] == "1 valid of 2"
    assert text not in told.output
    assert {file.name: file.read_bytes() for file in (tmp_path / "data").iterdir()} == before


async def test_a_database_in_use_is_read_too(tmp_path: Path) -> None:
    """What a running gateway has written and not yet folded into the file counts."""
    async with open_store(tmp_path / "data") as store:
        await KeyAdministration(store.keys, SystemClock()).create("new", None, None)
        told = await doctor(tmp_path, QUIET + PARROT, "--json")
    assert told.finding("Keys")["detail"] == "1 valid of 1"


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A revision this program does not know ends in exit code 1, and stays."""
    database = tmp_path / "data" / DATABASE_NAME
    migrate(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    told = await doctor(tmp_path, QUIET + PARROT, "--json")
    assert told.status == 1
    assert "revision 9999" in told.finding("Database")["detail"]
    assert "newer Ecluse" in told.finding("Database")["next_step"]


@pytest.mark.parametrize("content", [b"no database at all, though long enough" * 100, b"SQLite"])
def test_a_damaged_database_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is told, with what to do, and stays as it is."""
    (tmp_path / DATABASE_NAME).write_bytes(content)
    findings = list(storage(tmp_path, 0, open_to_others=False))
    assert [f.level for f in findings if f.title == "Database"] == [Level.BROKEN]
    assert (tmp_path / DATABASE_NAME).read_bytes() == content


def test_a_gateway_for_others_needs_a_key(tmp_path: Path) -> None:
    """Without one it would not start; on this machine alone the first start makes one."""
    for is_open, level in ((True, Level.BROKEN), (False, Level.FINE)):
        findings = storage(tmp_path / "none yet", 0, open_to_others=is_open)
        assert [f.level for f in findings if f.title == "Keys"] == [level]


async def test_a_taken_port_is_told(tmp_path: Path, taken_port: int) -> None:
    """A port of another program ends in exit code 1 with what to do."""
    text = QUIET.replace("port = 0", f"port = {taken_port}") + PARROT
    told = await doctor(tmp_path, text, "--json")
    assert told.status == 1
    assert str(taken_port) in told.finding("Port")["detail"]
    assert "--port" in told.finding("Port")["next_step"]


async def test_an_ecluse_on_the_port_is_no_fault(session: aiohttp.ClientSession) -> None:
    """A gateway that serves already is told as such; another server's 200 is not taken for it."""
    for name, level in (("ecluse", Level.FINE), ("nginx", Level.BROKEN)):
        async with serving(answers("/healthz", {"status": "ok"}), name=name) as number:
            assert (await network.port(session, "127.0.0.1", number)).level is level


async def test_a_paid_key_is_shown_by_name_only(tmp_path: Path) -> None:
    """Its variable and how to enable it are told, its value appears nowhere."""
    told = await doctor(tmp_path, QUIET + PARROT, OPENAI_API_KEY=SECRET)
    assert told.status == 0
    flat = " ".join(told.output.split())
    assert "OPENAI_API_KEY found, not used" in flat
    assert '[discovery] paid = ["openai"]' in flat
    assert SECRET not in flat


async def test_an_upstream_that_repeats_our_key(tmp_path: Path) -> None:
    """A server's error message with our key in it reaches nobody."""
    refusal = {"error": {"message": f"no such thing for {SECRET}"}}
    async with serving(answers("/v1/models", refusal, status=400)) as number:
        text = (
            f'{QUIET}[[upstreams]]\nkind = "http"\nname = "far"\nkey_env = "FAR_KEY"\n'
            f'url = "http://127.0.0.1:{number}/v1"\n'
        )
        told = await doctor(tmp_path, text, "--json", FAR_KEY=SECRET)
    assert told.status == 1
    assert "no such thing for (hidden)" in told.finding("Upstream far")["detail"]
    assert SECRET not in told.output


async def test_upstreams_and_routes(tmp_path: Path) -> None:
    """What answers is told with its models; what is silent, and a route's absent model, warn."""
    async with serving(answers("/v1/models", {"data": [{"id": "big"}]})) as number:
        near = (
            f'[[upstreams]]\nkind = "http"\nname = "near"\nurl = "http://127.0.0.1:{number}/v1"\n'
        )
        far = '[[upstreams]]\nkind = "http"\nname = "far"\nurl = "http://127.0.0.1:9/v1"\n'
        route = '[[routes]]\nname = "best"\nstages = [{model = "huge"}]\n'
        told = await doctor(tmp_path, QUIET + near + far + route, "--json")
    assert told.status == 0, told.output
    assert told.finding("Upstream near")["models"] == ["big"]
    assert told.finding("Upstream far")["level"] == "warning"
    assert "huge" in told.finding("Route best")["detail"]


async def test_a_missing_key_variable(session: aiohttp.ClientSession) -> None:
    """The gateway does not start without it. What looks like a key itself is not repeated."""
    for variable, is_told in (("FAR_KEY", True), ("sk_live_0123456789", False)):
        entry = HttpUpstream("far", "http://127.0.0.1:9", key_env=variable)
        (finding,) = await network.upstreams(session, Configuration(upstreams=(entry,)), {})
        assert finding.level is Level.BROKEN
        assert (variable in finding.detail) is is_told


async def test_local_servers_are_told_with_their_contexts(
    session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    """A server that is found is a line with its models; none found is a warning."""
    listed = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}
    async with serving(answers("/v1/models", listed)) as number:
        (found,) = await network.local_servers(session, Configuration(), {"vllm": number})
    assert (found.title, found.models) == ("vLLM", ("m",))
    assert "m (context 4096)" in found.detail
    (nobody,) = await network.local_servers(session, Configuration(), {"vllm": unused_tcp_port})
    assert nobody.level is Level.WARNING
    assert nobody.next_step


async def test_a_supplier_nobody_knows() -> None:
    """A mistyped name in [discovery] paid is told, and so is an enabled one without a key."""
    configuration = Configuration(discovery=Discovery(paid=("opneai", "mistral")))
    findings = list(network.paid_keys(configuration, {}))
    assert [finding.title for finding in findings] == ["Supplier opneai", "Supplier mistral"]
    assert "MISTRAL_API_KEY is not set" in findings[1].detail
