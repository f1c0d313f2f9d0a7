"""What is measured: the gateway, nginx as the floor, and LiteLLM where it was asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.mock_answers import MODEL
from benchmarks.processes import ROOT, own_environment

# Not 1.110.2: its proxy extra pins litellm-proxy and litellm-proxy-extras to versions that could
# not be found on PyPI (tried in November 2026).
LITELLM_VERSION = "1.106.12"
PEER_VENV = ROOT / ".bench-venv"
MASTER_KEY = "sk-bench-master"

ECLUSE_CONFIG = """\
[server]
port = {port}
[storage]
directory = "{directory}"
[discovery]
local = false
[demonstration]
enabled = false
[[upstreams]]
name = "mock"
kind = "http"
url = "http://127.0.0.1:{upstream}/v1"
[[upstreams.models]]
name = "{model}"
"""

# Tokens after which a held stream is committed. Make it 16 once `ecluse` knows the key.
COMMIT_AFTER_TOKENS: int | None = 16
CASCADE_ROUTE, LARGER_MODEL = "bench-cascade", "mock-larger"
# Below every log-probability of the mock: the first stage's answer is always good enough.
ACCEPT_LEAST_LOGPROB = -5.0

CASCADE_CONFIG = """\
[[upstreams.models]]
name = "{larger}"
[[routes]]
name = "{route}"
[[routes.stages]]
model = "{model}"
accept_least_logprob = {accept}
{commit}[[routes.stages]]
model = "{larger}"
"""

LITELLM_CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""


class Unavailable(Exception):
    """A target that cannot be measured here, and what would change that."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the requests of a load ask for; its name is that of its figures in the report."""

    name: str
    model: str = MODEL
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A target ready to be started, and the ways in which it is asked."""

    ways: tuple[Way, ...]
    version: str
    command: list[str]
    port: int
    rate: float
    directory: Path
    key: str = "none"
    ready_path: str = "/readyz"
    ready_within: float = 30.0
    environment: Mapping[str, str] = field(default_factory=own_environment)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ecluse(directory: Path, upstream: int) -> Prepared:
    """The gateway, from this repository, with a key of its own."""
    return _gateway(directory, upstream, "", (Way("ecluse"),))


def cascade(directory: Path, upstream: int) -> Prepared:
    """The gateway with a route of two stages, asked for the route and for a model directly.

    The client's log-probabilities make the upstream send what it sends to the cascade, so that
    only the cascade's own work lies between the two.
    """
    ways = (
        Way("direct"),
        Way("direct-logprobs", logprobs=True),
        Way("cascade", model=CASCADE_ROUTE),
    )
    return _gateway(directory, upstream, cascade_config(), ways)


def cascade_config(commit_after_tokens: int | None = COMMIT_AFTER_TOKENS) -> str:
    """What the gateway's configuration has more for the cascade."""
    commit = "" if commit_after_tokens is None else f"commit_after_tokens = {commit_after_tokens}\n"
    return CASCADE_CONFIG.format(
        route=CASCADE_ROUTE,
        model=MODEL,
        larger=LARGER_MODEL,
        accept=ACCEPT_LEAST_LOGPROB,
        commit=commit,
    )


def nginx(directory: Path, upstream: int) -> Prepared:
    """nginx as a plain proxy, one worker."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Unavailable(
            "nginx is not installed, so there is no floor to compare with: "
            "apt-get update; apt-get install -y nginx-light"
        )
    port = free_port()
    config = directory / "nginx.conf"
    template = (Path(__file__).parent / "nginx.conf.template").read_text()
    config.write_text(template.format(port=port, directory=directory, upstream=upstream))
    return Prepared(
        ways=(Way("nginx"),),
        version=_first_number(_output([found, "-v"])),
        command=[found, "-p", str(directory), "-e", "stderr", "-c", str(config)],
        port=port,
        rate=2000,
        directory=directory,
        ready_path="/v1/models",
    )


def litellm(directory: Path, upstream: int) -> Prepared:
    """The LiteLLM proxy in an environment of its own, one worker, no database."""
    if os.environ.get("BENCH_PEERS") != "1":
        raise Unavailable("LiteLLM is measured only with BENCH_PEERS=1 (it installs a lot)")
    program = _install_litellm()
    port = free_port()
    config = directory / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(model=MODEL, upstream=upstream, key=MASTER_KEY))
    bare = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "PYTHONPATH"}
    }
    command = [str(program), "--config", str(config), "--host", "127.0.0.1"]
    return Prepared(
        ways=(Way("litellm"),),
        version=LITELLM_VERSION,
        command=[*command, "--port", str(port), "--num_workers", "1"],
        port=port,
        rate=20,
        directory=directory,
        key=MASTER_KEY,
        ready_path="/health/readiness",
        ready_within=120.0,
        environment={**bare, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )


TARGETS = {"ecluse": ecluse, "nginx": nginx, "litellm": litellm, "cascade": cascade}
# The project's own: not being able to measure one of these is a fault, not a lack of the machine.
OWN = frozenset({"ecluse", "cascade"})


def _gateway(directory: Path, upstream: int, more: str, ways: tuple[Way, ...]) -> Prepared:
    port = free_port()
    config = directory / "ecluse.toml"
    text = ECLUSE_CONFIG.format(
        port=port, directory=directory.as_posix(), upstream=upstream, model=MODEL
    )
    config.write_text(text + more)
    made = [*_ecluse(), "keys", "create", "--config", str(config), "--name", "bench", "--json"]
    return Prepared(
        ways=ways,
        version=_first_number(_output([*_ecluse(), "--version"])),
        command=[*_ecluse(), "serve", "--config", str(config)],
        port=port,
        rate=800,
        directory=directory,
        key=json.loads(_output(made))["key"],
    )


def _ecluse() -> list[str]:
    return [sys.executable, "-m", "ecluse"]


def _install_litellm() -> Path:
    binaries = PEER_VENV / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / ("python.exe" if os.name == "nt" else "python")
    wanted = f"litellm[proxy]=={LITELLM_VERSION}"
    marker = PEER_VENV / "installed"
    if not marker.is_file() or marker.read_text() != wanted:
        print(f"Installing {wanted} into {PEER_VENV.name}/ …", file=sys.stderr)
        _output([sys.executable, "-m", "venv", str(PEER_VENV)])
        _output([str(python), "-m", "pip", "install", "--quiet", wanted])
        marker.write_text(wanted)
    return binaries / "litellm"


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
    return done.stdout + (done.stderr if not done.stdout else "")


def _first_number(text: str) -> str:
    match = re.search(r"\d[\w.+-]*", text)
    return match[0] if match else "unknown"
