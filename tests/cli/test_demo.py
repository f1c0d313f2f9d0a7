"""``ecluse demo`` on the real engine."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_demonstration_measures_three_strategies(tmp_path: Path) -> None:
    """Every strategy answers every task over HTTP; the cascade's calls include its rises."""
    out = tmp_path / "demo.json"
    done = subprocess.run(
        [sys.executable, "-m", "ecluse", "demo", "--tasks", "70", "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "engine CPU-seconds" in done.stdout
    small, large, cascade = json.loads(out.read_text("utf-8"))["strategies"]
    assert [s["name"] for s in (small, large, cascade)] == ["demo-small", "demo-large", "auto"]
    assert small["calls"] == large["calls"] == 70
    rises = cascade["answered_by"].get("demo-large", 0)
    assert sum(cascade["answered_by"].values()) == 70
    assert cascade["calls"] == 70 + rises
    assert all(s["cpu_seconds"] > 0 for s in (small, large, cascade))
    # Seventy fixed tasks, greedy answers and fixed weights: these outcomes do not vary.
    assert large["accuracy"] >= 0.9
    assert large["accuracy"] > small["accuracy"]
    assert cascade["accuracy"] >= 0.95 * large["accuracy"]


def test_nonsense_options_are_sentences() -> None:
    """Too few tasks, or an address without a key, end with exit code 2 and no traceback."""
    for options in (["--tasks", "0"], ["--url", "http://127.0.0.1:1"]):
        done = subprocess.run(
            [sys.executable, "-m", "ecluse", "demo", *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("ecluse: --")
