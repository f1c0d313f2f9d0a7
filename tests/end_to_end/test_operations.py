"""What whoever runs the gateway sees and does: probes, metrics, log, reload, keys."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families
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
from tests.end_to_end.mock_server import TEXT, MockServer

from ecluse.adapters.store.migrate import BUSY_TIMEOUT_S

SECRET_QUESTION = "the password is xylophone-42"
SECRET_WORD = b"xylophone"
UPSTREAM_KEY = "sk-upstream-trombone"


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """The mock's models, asked with a key of their own; and the demonstration."""
    upstream = mock_server.configuration(mock).replace(
        'name = "mock"\n', 'name = "mock"\nkey_env = "MOCK_KEY"\n', 1
    )
    return start(QUIET + upstream, environment={"MOCK_KEY": UPSTREAM_KEY})


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx2.Client]:
    """A client that sees every byte and header."""
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers, timeout=30) as client:
        yield client


def ask(http: httpx2.Client, model: str, **more: object) -> httpx2.Response:
    """A request for that model."""
    return http.post("/chat/completions", json={"model": model, "messages": QUESTION} | more)


def samples(gateway: GatewayProcess) -> dict[tuple[str, ...], float]:
    """The metrics, read as Prometheus would: name and label values lead to a value."""
    answer = httpx2.get(f"{gateway.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_probes_need_no_key(gateway: GatewayProcess) -> None:
    """Orchestrators have none."""
    assert httpx2.get(f"{gateway.url}/healthz").json() == {"status": "ok"}
    assert httpx2.get(f"{gateway.url}/readyz").json() == {"status": "ready"}
    assert httpx2.head(f"{gateway.url}/healthz").content == b""


def test_metrics_count(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """Requests by route, model and status; attempts and tokens by deployment."""
    before = samples(gateway)
    for _ in range(3):
        assert ask(http, "normal").status_code == 200
    ask(http, "broken")
    ask(http, "nonsense" * 5)
    after = samples(gateway)

    def grown(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    # Label values stand in the order of their labels' names.
    assert grown("ecluse_requests_total", "normal", "normal", "200") == 3
    assert grown("ecluse_requests_total", "", "broken", "502") == 1, "routes that fail can be told"
    assert grown("ecluse_attempts_total", "mock/normal", "answered") == 3
    assert grown("ecluse_attempts_total", "mock/broken", "failed") == 1
    assert grown("ecluse_tokens_total", "mock/normal", "prompt", "reported") == 33
    assert grown("ecluse_tokens_total", "mock/normal", "completion", "reported") == 15
    assert not any("nonsense" in part for key in after for part in key), "series stay bounded"
    assert ("ecluse_ledger_records_waiting",) in after


def test_metrics_of_the_engine(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """Its CPU time and memory, which are not this process's."""
    assert ask(http, "demo-large", max_tokens=50).status_code == 200
    told = samples(gateway)
    name = "demonstration/demo-large"
    assert told["ecluse_engine_cpu_seconds_total", name] > 0
    assert told["ecluse_engine_resident_bytes", name] > 1_000_000


def test_metrics_of_an_open_gateway_need_a_key(start: Starter) -> None:
    """Who else is in the network may not read who uses what."""
    gateway = start.prepare(
        QUIET + NO_DEMONSTRATION,
        options=("--host", "0.0.0.0", "--port", "0"),  # noqa: S104
    )
    key = gateway.make_key()["key"]
    gateway.start()
    assert httpx2.get(f"{gateway.url}/metrics").status_code == 401
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx2.get(f"{gateway.url}/metrics", headers=headers).status_code == 200
    assert httpx2.get(f"{gateway.url}/healthz").status_code == 200
    gateway.stop()


def test_one_log_line_a_request(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """JSON with what was asked, who answered, how long it took and what was used."""
    answer = ask(http, "normal", stream=True)
    refused = ask(http, "picky")
    line, error = (_line_of(gateway, a.headers["x-request-id"]) for a in (answer, refused))
    assert line["event"] == "request"
    assert (line["method"], line["path"]) == ("POST", "/v1/chat/completions")
    assert (line["status"], line["route"], line["model"]) == (200, "normal", "normal")
    assert (line["stream"], line["attempts"]) == (True, 1)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (11, 5)
    assert 0 < line["first_token_ms"] <= line["duration_ms"]
    assert gateway.key.split("_")[1] == line["key_id"]
    assert (error["status"], error["error"]) == (400, "unsupported_value")


def _line_of(gateway: GatewayProcess, request_id: str) -> dict[str, object]:
    def found() -> list[dict[str, object]]:
        return [line for line in gateway.log_lines() if line["request_id"] == request_id]

    until(found, PATIENCE_S, "the request is in the log")
    (line,) = found()
    return line


def test_no_text_and_no_key_is_kept(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """Neither in the log nor in the database, whatever became of the request."""
    secret = [{"role": "user", "content": SECRET_QUESTION}]
    for model in ("normal", "no-usage", "broken", "cut", "garbage", "demo", "nobody"):
        for stream in (False, True):
            ask(http, model, messages=secret, stream=stream, user=SECRET_QUESTION)
    http.post("/chat/completions", content=f'{{"model": "{SECRET_QUESTION}", nonsense'.encode())
    ask(http, "normal", messages=[{"role": SECRET_QUESTION, "content": 7}])
    last = ask(http, "normal", messages=secret)
    gateway.settled(last.headers["x-request-id"])
    _line_of(gateway, last.headers["x-request-id"])
    kept = [gateway.log().encode(), *_files(gateway.database.parent)]
    secrets = [SECRET_WORD, gateway.key.encode(), gateway.key.rpartition("_")[2].encode()]
    for secret_part in (*secrets, UPSTREAM_KEY.encode(), TEXT.encode()):
        assert not any(secret_part in text for text in kept), secret_part
    assert b"normal" in b"".join(kept), "this is where it would be found"


def _files(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


def test_a_busy_database_delays_no_answer(gateway: GatewayProcess, http: httpx2.Client) -> None:
    """While another program writes to it, answers go out as ever; their rows are written later."""
    with closing(sqlite3.connect(gateway.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        answers = [ask(http, "normal") for _ in range(20)]
        assert time.monotonic() - began < BUSY_TIMEOUT_S, "not even one of them waited for it"
        waiting = ("ecluse_ledger_records_waiting",)
        until(lambda: samples(gateway)[waiting] >= 20, PATIENCE_S, "the rows wait")
        assert not gateway.attempts(answers[0].headers["x-request-id"])
        other.execute("COMMIT")
    for answer in answers:
        assert answer.status_code == 200
        gateway.settled(answer.headers["x-request-id"])


# Reload.


def entry(mock: MockServer, name: str, model: str) -> str:
    """An upstream with one model of the mock's."""
    return (
        f'[[upstreams]]\nkind = "http"\nname = "{name}"\nurl = "{mock.url}"\n'
        f'[[upstreams.models]]\nname = "{name}"\nupstream_name = "{model}"\n'
    )


def names(gateway: GatewayProcess) -> set[str]:
    """The models that are offered now."""
    answer = httpx2.get(f"{gateway.base_url}/models", headers=gateway.headers)
    return {model["id"] for model in answer.json()["data"]}


@pytest.fixture(scope="module")
def reloaded(start: Starter, mock: MockServer) -> GatewayProcess:
    """One whose file changes while it runs."""
    return start(f"{QUIET}{NO_DEMONSTRATION}{entry(mock, 'first', 'gated')}")


async def test_a_reload_changes_new_requests_only(
    reloaded: GatewayProcess, mock: MockServer
) -> None:
    """SIGHUP: what is new appears, what is gone goes, and a stream that runs ends as it began."""
    async with AsyncOpenAI(
        base_url=reloaded.base_url, api_key=reloaded.key, max_retries=0
    ) as client:
        stream = await client.chat.completions.create(model="first", messages=QUESTION, stream=True)
        chunks = [await anext(stream)]
        reloaded.file.write_text(
            QUIET + NO_DEMONSTRATION + entry(mock, "second", "normal"), "utf-8"
        )
        reloaded.signal(signal.SIGHUP)
        ends = time.monotonic() + PATIENCE_S
        while (known := await asyncio.to_thread(names, reloaded)) != {"second", "auto"}:
            assert time.monotonic() < ends, known
            await asyncio.sleep(0.02)
        answer = await client.chat.completions.create(model="second", messages=QUESTION)
        assert answer.choices[0].message.content == TEXT
        mock.let_go(len(mock_server.WORDS))
        chunks += [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"


def until_refused(gateway: GatewayProcess, logged: int) -> None:
    """Wait until the log, beyond so many characters, says that a file was not taken."""
    until(lambda: "not reloaded" in gateway.log()[logged:], PATIENCE_S, "the mistake is logged")


def test_a_wrong_file_changes_nothing(reloaded: GatewayProcess) -> None:
    """The old configuration serves on, and the log says what is wrong and where."""
    before = names(reloaded)
    right = reloaded.file.read_text("utf-8")
    for text, expected in (
        ("[server]\nprot = 1\n", "port"),
        ("[server\n", "ecluse.toml"),
        ("# \udcff", "ecluse.toml"),
        (entry_of_missing_model(), "missing.gguf"),
    ):
        logged = len(reloaded.log())
        reloaded.file.write_bytes(text.encode(errors="surrogateescape"))
        reloaded.signal(signal.SIGHUP)
        until_refused(reloaded, logged)
        assert expected in reloaded.log()[logged:]
        assert names(reloaded) == before
    reloaded.file.unlink()
    logged = len(reloaded.log())
    reloaded.signal(signal.SIGHUP)
    until_refused(reloaded, logged)
    assert names(reloaded) == before
    reloaded.file.write_text(right, "utf-8")


def entry_of_missing_model() -> str:
    """A configuration that is right in itself but cannot be served."""
    return (
        '[[upstreams]]\nkind = "llama_cpp"\nname = "here"\n'
        '[[upstreams.models]]\nname = "mine"\nfile = "missing.gguf"\n'
    )


def test_a_signal_during_a_reload_is_not_lost(reloaded: GatewayProcess, mock: MockServer) -> None:
    """A reload that waits for a slow upstream is followed by another, which reads the newest."""
    base = QUIET + NO_DEMONSTRATION
    hesitated = mock.hesitated
    slow = f'[[upstreams]]\nkind = "http"\nname = "asked"\nurl = "{mock.hesitant_url}"\n'
    reloaded.file.write_text(base + slow, "utf-8")
    reloaded.signal(signal.SIGHUP)
    until(lambda: mock.hesitated > hesitated, PATIENCE_S, "the first reload waits")
    for model in ("earlier", "newest"):
        reloaded.file.write_text(base + entry(mock, model, "normal"), "utf-8")
        reloaded.signal(signal.SIGHUP)
    newest = {"newest", "auto"}
    until(lambda: names(reloaded) == newest, PATIENCE_S, "the newest file is served")


def test_every_line_of_the_log_is_json(reloaded: GatewayProcess) -> None:
    """Also what the program says of itself."""
    lines = [json.loads(line) for line in reloaded.log().splitlines()]
    told = [line for line in lines if line["event"] == "log"]
    assert any("serving generation" in line["message"] for line in told)
    assert {"info", "error"} <= {line["level"] for line in told}


# Keys.


def status_of(gateway: GatewayProcess, key: str) -> int:
    """What a key gets."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"{gateway.base_url}/models", headers=headers).status_code


def test_a_key_is_revoked_while_the_gateway_runs(gateway: GatewayProcess) -> None:
    """Made, used, revoked by another process, and refused by the one that runs."""
    made = gateway.make_key("--name", "short-lived")
    until(lambda: status_of(gateway, made["key"]) == 200, PATIENCE_S, "the new key works")
    assert gateway.command("keys", "revoke", made["key_id"]).returncode == 0
    until(lambda: status_of(gateway, made["key"]) == 401, PATIENCE_S, "the revoked key is refused")
    headers = {"Authorization": f"Bearer {made['key']}"}
    answer = httpx2.get(f"{gateway.base_url}/models", headers=headers)
    assert "revoked" in answer.json()["error"]["message"]
    assert status_of(gateway, gateway.key) == 200


def life_of_a_key(gateway: GatewayProcess, seconds: int) -> list[str]:
    """What was said to its holder, again and again until it had expired."""
    key = gateway.make_key("--expires", f"{seconds}s")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    said: list[str] = []

    def is_over() -> bool:
        answer = httpx2.get(f"{gateway.base_url}/models", headers=headers)
        said.append("works" if answer.status_code == 200 else answer.json()["error"]["message"])
        return "expired" in said[-1]

    until(is_over, seconds + PATIENCE_S, "the key has expired")
    return said


def test_a_key_expires(gateway: GatewayProcess) -> None:
    """By itself, while the gateway runs: it works, and then works no more."""
    # On a busy machine a short life may be over before the gateway knows the key.
    assert any("works" in life_of_a_key(gateway, seconds) for seconds in (3, 9, 27))


def test_a_scoped_key(gateway: GatewayProcess) -> None:
    """It sees and may use its routes alone; also as x-api-key."""
    made = gateway.make_key("--route", "normal", "--route", "demo")
    until(lambda: status_of(gateway, made["key"]) == 200, PATIENCE_S, "the new key works")
    with httpx2.Client(base_url=gateway.base_url, headers={"x-api-key": made["key"]}) as client:
        listed = {model["id"] for model in client.get("/models").json()["data"]}
        assert listed == {"normal", "demo"}
        assert ask(client, "normal").status_code == 200
        for forbidden in ("slow", "demo-large", "auto"):
            answer = ask(client, forbidden)
            assert answer.status_code == 403
            assert answer.json()["error"]["type"] == "permission_error"
        assert client.get("/models/slow").status_code == 404
    listing = json.loads(gateway.command("keys", "list", "--json").stdout)
    (told,) = (key for key in listing if key["key_id"] == made["key_id"])
    assert told["routes"] == ["demo", "normal"]
    assert made["key"] not in json.dumps(listing)
