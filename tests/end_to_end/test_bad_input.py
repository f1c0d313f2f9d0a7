"""What clients and operators get wrong: a sentence with a next step each, and nothing breaks."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION
from tests.end_to_end.gateway_process import (
    NO_DEMONSTRATION,
    PATIENCE_S,
    QUIET,
    GatewayProcess,
    Starter,
    until,
)
from tests.end_to_end.mock_server import RETRY_AFTER_S, MockServer

import ecluse

BODY_LIMIT = 100_000
MODEL_FILE = Path(ecluse.__file__).parent / "demonstration" / "models" / "demo-small.gguf"


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """The mock's models, a short one, one that nobody serves, and the demonstration."""
    return start(
        f"""[server]
max_body_bytes = {BODY_LIMIT}
{QUIET}{mock_server.configuration(mock)}
[[upstreams]]
kind = "http"
name = "short"
url = "{mock.url}"
[[upstreams.models]]
name = "short"
upstream_name = "normal"
context_tokens = 100
accepts_images = false
[[upstreams]]
kind = "http"
name = "nobody"
url = "http://127.0.0.1:{free_port()}/v1"
[[upstreams.models]]
name = "gone"
"""
    )


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx2.Client]:
    """A client whose gateway must still serve once a test is through with it."""
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers, timeout=20) as client:
        yield client
        assert ask(client, "normal").status_code == 200
    assert gateway.process.poll() is None


def ask(http: httpx2.Client, model: str, **more: object) -> httpx2.Response:
    """A request for that model."""
    return http.post("/chat/completions", json={"model": model, "messages": QUESTION} | more)


def send(http: httpx2.Client, body: bytes) -> httpx2.Response:
    """A body as it is."""
    return http.post("/chat/completions", content=body)


def the_error(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error object; it must have the shape that OpenAI's clients read."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    told = answer.json()
    assert set(told) == {"error"}
    error: dict[str, Any] = told["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert isinstance(error["type"], str)
    assert error["message"].strip()
    return error


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b"{not json", "1"),
        (b'{"model": "normal", "messages": [}', "33"),
        (b'{"model": "normal"', None),
        (b"", None),
        (b"\xff\xfe\x00", "0"),
        (b'{"model": "\xc3\x28", "messages": []}', None),
        (b'{"model": "normal", "x": "\xff", "messages": []}', "26"),
        (b'{"model": "normal", "x": ' + b"[" * 50_000, None),
        (b'{"model": "normal", "tool_choice": ' + b'{"x":' * 5_000, None),
    ],
    ids=[
        "word",
        "bracket",
        "cut",
        "empty",
        "bytes",
        "utf-8",
        "utf-8 unknown",
        "deep unknown",
        "deep known",
    ],
)
def test_what_is_not_json(http: httpx2.Client, body: bytes, position: str | None) -> None:
    """400, the position where there is one, and what to send instead."""
    error = the_error(send(http, body), 400, "invalid_request")
    assert error["type"] == "invalid_request_error"
    assert "JSON" in error["message"] or "nested" in error["message"]
    if position is not None:
        assert position in re.findall(r"\d+", error["message"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": 7, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"tools": [{"type": 7}]}, "tools[0].type"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 1_000}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stop": 7}, "stop"),
        ({"seed": 0.5}, "seed"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"response_format": {"type": 7}}, "response_format.type"),
    ],
    ids=str,
)
def test_wrong_types(http: httpx2.Client, change: dict[str, object], param: str) -> None:
    """400, with the path of the field, in the message and as ``param``."""
    body = {"model": "normal", "messages": QUESTION} | change
    error = the_error(send(http, json.dumps(body).encode()), 400, "invalid_request")
    assert error["param"] == param
    assert param in error["message"]
    assert "See the OpenAI API reference" in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
    ids=str,
)
def test_what_is_missing_inside(
    gateway: GatewayProcess, http: httpx2.Client, change: dict[str, object], param: str
) -> None:
    """400 with its path; nobody was asked."""
    body = {"model": "normal", "messages": QUESTION} | change
    answer = send(http, json.dumps(body).encode())
    assert the_error(answer, 400, "invalid_request")["param"] == param
    assert not gateway.attempts(answer.headers["x-request-id"])


@pytest.mark.parametrize("body", [{}, {"model": "normal"}, {"messages": QUESTION}, [], 7, None])
def test_what_is_incomplete(http: httpx2.Client, body: object) -> None:
    """400, naming what a request needs."""
    error = the_error(send(http, json.dumps(body).encode()), 400, "invalid_request")
    assert "`model` and `messages`" in error["message"]


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer nonsense", "Bearer ecl_0_x", "Bearer ecl_é", "Basic x"],
)
def test_no_key_or_a_wrong_one(gateway: GatewayProcess, http: httpx2.Client, value: str) -> None:
    """401, with how to send one; on every endpoint under /v1."""
    headers = {} if value is None else {"Authorization": value.encode()}
    body = {"model": "normal", "messages": QUESTION}
    for method, path, sent in (("POST", "/chat/completions", body), ("GET", "/models", None)):
        url = gateway.base_url + path
        answer = httpx2.request(method, url, json=sent, headers=headers)
        error = the_error(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "ecluse keys create" in error["message"]


def test_a_key_with_another_secret(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """A known id opens nothing."""
    wrong = gateway.key[:-1] + ("0" if gateway.key[-1] != "0" else "1")
    answer = httpx2.get(f"{gateway.base_url}/models", headers={"Authorization": f"Bearer {wrong}"})
    the_error(answer, 401, "invalid_api_key")


def test_a_model_out_of_scope(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """403, with what the key may use."""
    made = gateway.make_key("--route", "normal", "--name", "narrow")
    until(lambda: _knows(gateway, made["key"]), PATIENCE_S, "the new key is known")
    with httpx2.Client(base_url=gateway.base_url) as client:
        client.headers["Authorization"] = f"Bearer {made['key']}"
        error = the_error(ask(client, "slow"), 403, "route_not_allowed")
        assert "It may use: normal." in error["message"]
        assert error["param"] == "model"
        assert ask(client, "normal").status_code == 200


def _knows(gateway: GatewayProcess, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"{gateway.base_url}/models", headers=headers).status_code == 200


def test_an_unknown_model(http: httpx2.Client) -> None:
    """404, with near names; also for one model's description."""
    error = the_error(ask(http, "norml"), 404, "model_not_found")
    assert "Did you mean normal" in error["message"]
    assert error["param"] == "model"
    error = the_error(ask(http, "zzzzzzzz" * 100), 404, "model_not_found")
    assert "There is: " in error["message"]
    assert len(error["message"]) < 1_000
    error = the_error(http.get("/models/norml"), 404, "model_not_found")
    assert "Did you mean normal" in error["message"]


def test_an_unknown_path_and_a_wrong_method(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """404 and 405, with what there is; a base URL without /v1 is the usual mistake."""
    error = the_error(httpx2.post(f"{gateway.url}/chat/completions"), 404, "unknown_url")
    assert "/v1/chat/completions" in error["message"]
    answer = http.get("/chat/completions")
    assert "POST" in the_error(answer, 405, "method_not_allowed")["message"]
    assert answer.headers["allow"] == "POST"
    assert http.post("/models").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit(http: httpx2.Client, announced: bool) -> None:
    """413, with the limit and where it is set; whether its length is announced or not."""
    body = b'{"model": "normal", "x": "' + b"y" * BODY_LIMIT + b'"}'
    content = body if announced else iter([body[:1_000], body[1_000:]])
    answer = http.post("/chat/completions", content=content)
    error = the_error(answer, 413, "request_too_large")
    assert str(BODY_LIMIT) in error["message"]
    assert "max_body_bytes" in error["message"]


@pytest.mark.parametrize("model", ["short", "demo-large"])
def test_a_prompt_beyond_the_context(http: httpx2.Client, mock: MockServer, model: str) -> None:
    """400 context_length_exceeded, and nobody was asked."""
    known = len(mock.requests)
    question = [{"role": "user", "content": "word " * 3_000}]
    error = the_error(ask(http, model, messages=question), 400, "context_length_exceeded")
    assert "Shorten the messages" in error["message"]
    assert len(mock.requests) == known


def test_images_for_a_model_that_sees_none(http: httpx2.Client, mock: MockServer) -> None:
    """400, before any call."""
    known = len(mock.requests)
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    question = [{"role": "user", "content": [part]}]
    error = the_error(ask(http, "short", messages=question), 400, "invalid_request")
    assert "images" in error["message"]
    assert len(mock.requests) == known


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_alive(http: httpx2.Client, stream: bool) -> None:
    """503 with Retry-After and what to look at."""
    answer = ask(http, "gone", stream=stream)
    error = the_error(answer, 503, "upstream_unreachable")
    assert int(answer.headers["retry-after"]) > 0
    assert "ecluse doctor" in error["message"]


def test_nothing_there_at_all(start: Starter) -> None:
    """503 with Retry-After for every name; the gateway starts all the same and says so."""
    gateway = start(QUIET + NO_DEMONSTRATION)
    assert "none found" in gateway.printed()
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers) as client:
        answer = ask(client, "anything")
        error = the_error(answer, 503, "no_deployment_available")
        assert int(answer.headers["retry-after"]) > 0
        assert "ecluse doctor" in error["message"]
        assert client.get("/models").json() == {"object": "list", "data": []}
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 503
    assert httpx2.get(f"{gateway.url}/healthz").status_code == 200


def test_an_upstreams_refusal_keeps_its_reason(http: httpx2.Client) -> None:
    """400 with message, param and code as the upstream has them; 429 with its Retry-After."""
    error = the_error(ask(http, "picky"), 400, "unsupported_value")
    assert error["message"].startswith("temperature must be 1 for this model")
    assert error["param"] == "temperature"
    answer = ask(http, "busy")
    error = the_error(answer, 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_garbage(http: httpx2.Client, stream: bool) -> None:
    """502, with what to check."""
    error = the_error(ask(http, "garbage", stream=stream), 502, "upstream_garbage")
    assert "URL" in error["message"]


def test_what_is_not_even_http(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """Garbage on the socket is refused, and nothing is logged as a crash."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100, b"\0"):
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65_536):
                pass
    assert "Traceback" not in gateway.log()


# What keeps the program from starting.


def refused_start(gateway: GatewayProcess, *options: str) -> str:
    """The one sentence of a start that fails; the exit code must be 2."""
    done = gateway.command("serve", *(options or ("--port", "0")))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("ecluse: ")
    assert done.stderr.count("\n") == 1, "one sentence, no traceback"
    assert done.stdout == ""
    return done.stderr


def test_a_taken_port(start: Starter, gateway: GatewayProcess) -> None:
    """The sentence names --port, with a number that may do."""
    port = gateway.url.rpartition(":")[2]
    sentence = refused_start(start.prepare(QUIET), "--port", port)
    assert f"Port {port}" in sentence
    assert "an Ecluse is serving there" in sentence
    assert re.search(r"--port \d+", sentence)


def test_an_address_of_another_machine(start: Starter) -> None:
    """It cannot be listened on, and what to check is said."""
    sentence = refused_start(start.prepare(QUIET), "--host", "192.0.2.1", "--port", "0")
    assert "server.host" in sentence


def engine_configuration(file: Path) -> str:
    """A configuration that names a model file."""
    return (
        f'{QUIET}{NO_DEMONSTRATION}[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n'
        f"[[upstreams.models]]\nname = \"mine\"\nfile = '{file}'\n"
    )


def test_a_missing_model_file(start: Starter, tmp_path: Path) -> None:
    """The sentence names the file, and no key was made that nobody saw."""
    gateway = start.prepare(engine_configuration(tmp_path / "missing.gguf"))
    assert "missing.gguf" in refused_start(gateway)
    assert json.loads(gateway.command("keys", "list", "--json").stdout) == []
    gateway.file.write_text(QUIET + NO_DEMONSTRATION, "utf-8")
    gateway.start()
    assert httpx2.get(f"{gateway.base_url}/models", headers=gateway.headers).status_code == 200
    gateway.stop()


@pytest.mark.parametrize("kept", [0, 3, 100, 5_000])
def test_a_broken_model_file(start: Starter, tmp_path: Path, kept: int) -> None:
    """Cut off anywhere in its header, or no GGUF at all."""
    (tmp_path / "cut.gguf").write_bytes(MODEL_FILE.read_bytes()[:kept])
    assert "cut.gguf" in refused_start(start.prepare(engine_configuration(tmp_path / "cut.gguf")))
    (tmp_path / "other.gguf").write_bytes(b"%PDF-1.7" + bytes(kept))
    sentence = refused_start(start.prepare(engine_configuration(tmp_path / "other.gguf")))
    assert "other.gguf" in sentence


def test_a_model_file_without_its_weights(start: Starter, tmp_path: Path) -> None:
    """A download that broke off late: a sentence at the start, or an error with its reason."""
    whole = MODEL_FILE.read_bytes()
    (tmp_path / "late.gguf").write_bytes(whole[: len(whole) - 1_000])
    assert "late.gguf" in refused_start(start.prepare(engine_configuration(tmp_path / "late.gguf")))


def test_a_newer_database(start: Starter) -> None:
    """Neither serving nor any other command touches it."""
    gateway = start.prepare(QUIET)
    assert gateway.command("keys", "create").returncode == 0
    with closing(sqlite3.connect(gateway.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = gateway.database.read_bytes()
    sentence = refused_start(gateway)
    assert "9999" in sentence
    assert "Install a newer ecluse" in sentence
    assert gateway.command("report", "usage").returncode == 2
    assert gateway.database.read_bytes() == before


def test_a_broken_database(start: Starter) -> None:
    """What is no database is not overwritten."""
    gateway = start.prepare(QUIET)
    gateway.database.parent.mkdir()
    gateway.database.write_bytes(b"my diary\n" * 1_000)
    assert "ecluse.db" in refused_start(gateway)
    assert gateway.database.read_bytes().startswith(b"my diary\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  that is what is refused
def test_an_open_address_without_a_key(start: Starter, host: str) -> None:
    """Refused until a key was made; a revoked one still counts, since the door stays locked."""
    gateway = start.prepare(QUIET + NO_DEMONSTRATION)
    sentence = refused_start(gateway, "--host", host, "--port", "0")
    assert "ecluse keys create" in sentence
    made = gateway.make_key()
    opened = start.prepare(QUIET + NO_DEMONSTRATION, options=("--host", host, "--port", "0"))
    shutil.copytree(gateway.database.parent, opened.database.parent)
    opened.start()
    assert made["key"] not in opened.printed()
    port = opened.url.rpartition(":")[2]
    assert httpx2.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nprot = 4242\n", ("ecluse.toml", "2", "port")),
        ("[serve]\nport = 4242\n", ("ecluse.toml", "1", "server")),
        ('[server]\nport = "4242"\n', ("ecluse.toml", "2", "port")),
        ("[server]\nport = 70000\n", ("ecluse.toml", "2", "port")),
        ("[server]\nport = \n", ("ecluse.toml", "2")),
        ('[[upstreams]]\nkind = "htpp"\nname = "x"\n', ("ecluse.toml", "2", "http")),
        ('[[upstreams]]\nkind = "http"\nname = "x"\nulr = "y"\n', ("ecluse.toml", "4", "url")),
    ],
    ids=["key", "table", "type", "range", "syntax", "kind", "nested key"],
)
def test_a_wrong_configuration(start: Starter, text: str, expected: tuple[str, ...]) -> None:
    """File, line and the nearest known key; the same from ``--check``."""
    gateway = start.prepare(text)
    for options in ((), ("--check",)):
        sentence = refused_start(gateway, *options)
        for word in expected:
            assert re.search(rf"\b{re.escape(word)}\b", sentence), (word, sentence)


def test_a_right_configuration_is_checked_without_a_start(start: Starter) -> None:
    """``serve --check`` takes no port and makes no database."""
    gateway = start.prepare(QUIET)
    done = gateway.command("serve", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert not gateway.database.exists()


def test_a_configuration_that_is_not_there(start: Starter) -> None:
    """Who names a file wants to hear that it is missing."""
    gateway = start.prepare("")
    gateway.file.unlink()
    assert "ecluse.toml" in refused_start(gateway)
