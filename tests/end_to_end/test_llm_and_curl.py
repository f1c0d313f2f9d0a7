"""What a new user pastes: the lines the start prints, and the ``llm`` command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.gateway_process import QUIET, GatewayProcess, Starter
from tests.end_to_end.mock_server import TEXT, MockServer

Llm = Callable[..., str]


@pytest.fixture(scope="module")
def gateway(start: Starter) -> GatewayProcess:
    """A first start: nothing configured and nothing found, so the demonstration answers."""
    return start(QUIET)


@pytest.fixture(scope="module")
def asking_mock(start: Starter, mock: MockServer) -> GatewayProcess:
    """One with upstreams that say more than the demonstration can."""
    return start(QUIET + mock_server.configuration(mock))


def lines_after(gateway: GatewayProcess, heading: str) -> list[str]:
    """The lines that the start prints under a heading, as they stand there."""
    _, _, rest = gateway.printed().partition(f"{heading}\n\n")
    assert rest, gateway.printed()
    return rest.split("\n\n")[0].splitlines()


def test_the_start_tells_what_a_user_needs(gateway: GatewayProcess) -> None:
    """The address, a key that is shown only now, and what answers."""
    printed = gateway.printed()
    assert gateway.base_url in printed
    assert f"{gateway.key}   (shown only now" in printed
    assert "asks demo-small, then demo-medium, then demo-large" in printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_printed_curl_line_works(gateway: GatewayProcess) -> None:
    """Pasted into a shell as it is."""
    line = "\n".join(lines_after(gateway, "Try it:"))
    assert line.startswith("curl ")
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["choices"][0]["message"]["content"].strip() == "85"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_streams(asking_mock: GatewayProcess) -> None:
    """``curl -N`` shows server-sent events, and a failure is an exit code with ``--fail``."""
    curl = str(shutil.which("curl"))
    body = '{"model": "%s", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    ask = [
        *(curl, "-sN", "--fail-with-body", f"{asking_mock.base_url}/chat/completions"),
        *("-H", f"Authorization: Bearer {asking_mock.key}", "-d"),
    ]
    done = subprocess.run(
        [*ask, body % "normal"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.endswith("data: [DONE]\n\n")
    done = subprocess.run(
        [*ask, body % "broken"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 22
    assert json.loads(done.stdout)["error"]["code"] == "upstream_failed"


def test_the_printed_python_works(gateway: GatewayProcess, tmp_path: Path) -> None:
    """Pasted into a file and run."""
    file = tmp_path / "pasted.py"
    file.write_text("\n".join(lines_after(gateway, "or in Python (pip install openai):")), "utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("85", "")


def test_a_second_start_prints_lines_for_a_key_of_ones_own(start: Starter) -> None:
    """The key was shown once and only once."""
    gateway = start(QUIET)
    gateway.stop()
    gateway.start()
    assert gateway.key not in gateway.printed()
    assert "Bearer YOUR_KEY" in gateway.printed()
    gateway.stop()


@pytest.fixture
def llm(gateway: GatewayProcess, asking_mock: GatewayProcess, tmp_path: Path) -> Llm:
    """The ``llm`` command with models of ours, told to it as its documentation says."""
    entries = []
    for model, at in (("demo", gateway), ("normal", asking_mock), ("broken", asking_mock)):
        entries += [
            f"- model_id: our-{model}",
            f"  model_name: {model}",
            f"  api_base: {at.base_url}",
            f"  api_key_name: key-{model}",
        ]
    entries += ["  supports_tools: true", "  supports_schema: true"]
    (tmp_path / "extra-openai-models.yaml").write_text("\n".join(entries) + "\n", "utf-8")
    keys = {"key-demo": gateway.key, "key-normal": asking_mock.key, "key-broken": asking_mock.key}
    (tmp_path / "keys.json").write_text(json.dumps(keys), "utf-8")

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "llm", *arguments],
            env={"PATH": os.environ["PATH"], "LLM_USER_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            input="",
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def test_llm_on_the_real_engine(llm: Llm) -> None:
    """Streamed, as it does by default, and whole."""
    assert llm("-m", "our-demo", "add 47 38").strip() == "85"
    assert llm("-m", "our-demo", "--no-stream", "add 47 38").strip() == "85"


def test_llm_knows_what_was_used(llm: Llm) -> None:
    """It asks for usage in streams and shows it."""
    assert llm("-m", "our-normal", "hello").strip() == TEXT
    logged = json.loads(llm("logs", "--json"))[0]
    assert (logged["input_tokens"], logged["output_tokens"]) == (11, 5)


def test_llm_shows_our_errors(llm: Llm) -> None:
    """What went wrong reaches the user as a message."""
    told = llm("-m", "our-broken", "hello", code=1)
    # It asks three times, and others did before: then the breaker answers.
    assert "out of memory" in told or "left alone for a while" in told
