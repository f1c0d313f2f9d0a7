"""``ecluse demo`` on the real engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecluse.demonstration import ladder

TASKS = 40
SINGLES = ["demo-small", "demo-medium", "demo-large", "demo-multiply"]


def run(*options: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    return subprocess.run(
        [sys.executable, "-m", "ecluse", "demo", *options],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one run of the command has written everything it can write."""
    folder = tmp_path_factory.mktemp("demo")
    files = [f"--{kind}={folder}/out.{kind}" for kind in ("json", "svg", "png")]
    done = run("--tasks", str(TASKS), *files, timeout_s=110)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (folder / "stdout").write_text(done.stdout, "utf-8")
    (folder / "stderr").write_text(done.stderr, "utf-8")
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    """The JSON file of that run."""
    made: dict[str, Any] = json.loads((folder / "out.json").read_text("utf-8"))
    return made


def strategies(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The strategies by name."""
    return {strategy["name"]: strategy for strategy in report["strategies"]}


def test_every_strategy_answers_every_task(report: dict[str, Any]) -> None:
    """Each single model and the cascade, with figures that are no accident of zero."""
    assert list(strategies(report)) == [*SINGLES, "auto"]
    assert report["tasks"] == TASKS
    for strategy in report["strategies"]:
        assert strategy["tasks"] == sum(strategy["answered_by"].values()) == TASKS
        for figure in ("calls", "prompt_tokens", "completion_tokens", "compute_flop"):
            assert isinstance(strategy[figure], int)
            assert strategy[figure] > 0
        assert strategy["cpu_seconds"] > 0
        for name, (low, high) in strategy["intervals"].items():
            assert low <= high, name
        assert set(strategy["by_half"]) == {"easy", "hard"}


def test_calls_and_compute_are_those_of_all_attempts(report: dict[str, Any]) -> None:
    """Of a single model one a task; of the cascade one more for each rise."""
    by_name = strategies(report)
    for model in ladder.models():
        single = by_name[model.name]
        tokens = single["prompt_tokens"] + single["completion_tokens"]
        assert single["calls"] == TASKS
        assert single["answered_by"] == {model.name: TASKS}
        assert single["compute_flop"] == 2 * model.parameters * tokens
    cascade = by_name["auto"]
    calls = {rung.name: place for place, rung in enumerate(ladder.rungs(), start=1)}
    answered = cascade["answered_by"]
    assert cascade["calls"] == sum(calls[name] * count for name, count in answered.items())


def test_the_ladder_is_worth_climbing(report: dict[str, Any]) -> None:
    """Fixed tasks, greedy answers and fixed weights: these outcomes hardly vary."""
    by_name = strategies(report)
    small, medium, large = (by_name[name]["accuracy"] for name in SINGLES[:3])
    assert small < medium < large
    assert by_name["auto"]["accuracy"] >= 0.95 * large
    assert by_name["auto"]["compute_flop"] < 0.6 * by_name["demo-large"]["compute_flop"]
    assert report["cascade"]["against"] == "demo-large"
    share = by_name["auto"]["cpu_seconds"] / by_name["demo-large"]["cpu_seconds"]
    assert report["cascade"]["shares"]["cpu_seconds"] == pytest.approx(share)


def test_the_specialist_is_better_on_its_own_task(report: dict[str, Any]) -> None:
    """And on that alone."""
    largest, specialist = report["specialist"]
    assert (largest["name"], specialist["name"]) == ("demo-large", "demo-multiply")
    assert specialist["accuracy"] > largest["accuracy"]
    assert set(specialist["by_half"]) == {"specialist"}
    assert strategies(report)["demo-multiply"]["accuracy"] < 0.2


def test_it_is_called_a_demonstration_everywhere(folder: Path, report: dict[str, Any]) -> None:
    """In the terminal, in the JSON file and in the chart; the progress goes to standard error."""
    printed = (folder / "stdout").read_text("utf-8")
    assert "DEMONSTRATION" in printed
    assert "of its engine CPU-seconds" in " ".join(printed.split())
    assert "demonstration" in report
    assert "DEMONSTRATION" in (folder / "out.svg").read_text("utf-8")
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    assert f"{TASKS}/{TASKS}" in (folder / "stderr").read_text("utf-8")


@pytest.mark.parametrize(
    "options",
    [
        ("--tasks", "0"),
        ("--tasks", "1000000"),
        ("--url", "http://127.0.0.1:1"),
        ("--png", "no such folder/chart.png"),
    ],
)
def test_nonsense_options_are_sentences(options: tuple[str, ...]) -> None:
    """Too few or too many tasks, an address without a key, a folder that is not there: exit 2."""
    done = run(*options)
    assert done.returncode == 2
    assert done.stderr.startswith("ecluse: --")
