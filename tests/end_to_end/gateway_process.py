"""``ecluse serve`` as a child process, started, watched and stopped as a user would."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ecluse

PATIENCE_S = 20.0
"""More than anything takes on a busy machine; less than the gateway's own limits by default, and
than what never ends in the mock upstream."""
START_PATIENCE_S = 60.0
ADDRESS = re.compile(r"Ecluse answers at +(http://\S+)/v1")
FIRST_KEY = re.compile(r"^Key +(ecl_\S+)", re.MULTILINE)
QUIET = """\
[discovery]
local = false
[endurance]
retry_seconds = 0
"""
"""What else runs on the machine that tests is not our business; and what fails is told at once."""
NO_DEMONSTRATION = "[demonstration]\nenabled = false\n"
KEPT_VARIABLES = ("PATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")


def until(condition: Callable[[], object], patience_s: float, what: str) -> None:
    """Wait until something holds; fails with ``what`` should it not."""
    ends = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < ends, f"after {patience_s} s still not so: {what}"
        time.sleep(0.01)


class GatewayProcess:
    """A gateway, its folder and its command line."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        *,
        options: tuple[str, ...] = ("--port", "0"),
        environment: Mapping[str, str] = {},
    ) -> None:
        self.folder = folder
        self.file = folder / "ecluse.toml"
        self.file.write_text(configuration, "utf-8")
        self.database = folder / "data" / "ecluse.db"
        self._environment = {
            **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            "PYTHONPATH": str(Path(ecluse.__file__).parents[1]),
            "HOME": str(folder),
            "ECLUSE_HOME": str(folder / "data"),
            **environment,
        }
        self._options = options

    def start(self) -> None:
        """Start it, and return once it has told its address."""
        self._out = self.folder / "stdout"
        self._err = self.folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                self._command("serve", *self._options),
                cwd=self.folder,
                env=self._environment,
                stdout=out,
                stderr=err,
            )
        until(self._has_begun, START_PATIENCE_S, "the gateway has started")
        address = ADDRESS.search(self.printed())
        assert address is not None, self.log()
        self.url = address[1]
        key = FIRST_KEY.search(self.printed())
        if key is not None:
            self.key = key[1]

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What a request of the first key's holder carries."""
        return {"Authorization": f"Bearer {self.key}"}

    def printed(self) -> str:
        """What the start told its user."""
        return self._out.read_text("utf-8")

    def log(self) -> str:
        """Standard error so far."""
        return self._err.read_text("utf-8")

    def log_lines(self) -> list[dict[str, Any]]:
        """The requests in the log."""
        lines = [json.loads(line) for line in self.log().splitlines()]
        return [line for line in lines if line["event"] == "request"]

    def command(self, *arguments: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run another command of ours on the same folder."""
        return subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def make_key(self, *options: str) -> dict[str, Any]:
        """``ecluse keys create --json``."""
        done = self.command("keys", "create", "--json", *options)
        assert done.returncode == 0, done.stderr
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def usage(self, by: str = "model") -> dict[str, Any]:
        """``ecluse report usage --json``."""
        done = self.command("report", "usage", "--by", by, "--json")
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def attempts(self, request_id: str | None = None) -> list[dict[str, Any]]:
        """The ledger's rows, in the order they began; all, or those of one ``x-request-id``."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM attempts ORDER BY 1")]
        if request_id is None:
            return rows
        return [row for row in rows if row["request_id"] == request_id]

    def settled(self, request_id: str, count: int = 1) -> list[dict[str, Any]]:
        """The rows of a request, once there are as many; they are written a moment later."""
        until(
            lambda: len(self.attempts(request_id)) >= count,
            PATIENCE_S,
            f"{count} attempts are settled",
        )
        return self.attempts(request_id)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM; it must end with 0 and must not have logged a traceback."""
        self.signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait for the end that was asked for, and check that it was a clean one."""
        code = self.process.wait(PATIENCE_S)
        assert code == 0, f"exit code {code}: {self.log()[-2_000:]}"
        assert "Traceback" not in self.log(), self.log()

    def _has_begun(self) -> bool:
        return self.process.poll() is not None or "Ecluse answers at" in self.printed()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ecluse", *arguments, "--config", str(self.file)]


class Starter:
    """Starts gateways in folders of their own."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._started: list[GatewayProcess] = []

    def __call__(self, configuration: str, **options: Any) -> GatewayProcess:
        gateway = self.prepare(configuration, **options)
        gateway.start()
        return gateway

    def prepare(self, configuration: str, **options: Any) -> GatewayProcess:
        """A gateway that is not started yet."""
        gateway = GatewayProcess(self._folders.mktemp("gateway"), configuration, **options)
        self._started.append(gateway)
        return gateway

    def stop_all(self) -> None:
        """Stop what still runs."""
        for gateway in self._started:
            if _runs(gateway):
                gateway.stop()

    def kill_all(self) -> None:
        """Leave nothing behind."""
        for gateway in self._started:
            if _runs(gateway):
                gateway.process.kill()
                gateway.process.wait()


def _runs(gateway: GatewayProcess) -> bool:
    return hasattr(gateway, "process") and gateway.process.poll() is None
