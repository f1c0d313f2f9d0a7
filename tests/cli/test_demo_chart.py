"""What ``ecluse demo`` shows of a report: tables and words in the terminal, charts as files."""

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from ecluse.cli.demo_chart import draw
from ecluse.cli.demo_view import in_words, show
from ecluse.evaluation.demonstration import Comparison, Report, StrategyResult

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def result(name: str, accuracy: float, flop: int, cpu: float, **by: int) -> StrategyResult:
    """A strategy's figures, with intervals of a tenth to either side."""
    figures = {"calls": 300.0, "prompt_tokens": 5e3, "completion_tokens": 9e3}
    figures |= {"compute_flop": float(flop), "cpu_seconds": cpu}
    return StrategyResult(
        name=name,
        tasks=300,
        accuracy=accuracy,
        calls=300,
        prompt_tokens=5_000,
        completion_tokens=9_000,
        compute_flop=flop,
        cpu_seconds=cpu,
        intervals={
            "accuracy": (max(0.0, accuracy - 0.04), min(1.0, accuracy + 0.03)),
            **{name: (0.9 * value, 1.1 * value) for name, value in figures.items()},
        },
        answered_by=by or {name: 300},
        by_half={"easy": accuracy, "hard": accuracy},
        by_kind={"add 2": accuracy},
    )


def share(low: float, high: float) -> tuple[float, float]:
    """An interval."""
    return low, high


REPORT = Report(
    seed=1,
    tasks=300,
    strategies=[
        result("demo-small", 0.62, 4_000_000_000, 3.1),
        result("demo-medium", 0.81, 28_000_000_000, 6.4),
        result("demo-large", 0.953, 148_000_000_000, 17.8),
        result("demo-multiply", 0.0, 6_000_000_000, 2.2),
        result(
            "auto",
            0.95,
            44_000_000_000,
            7.9,
            **{"demo-small": 170, "demo-medium": 80, "demo-large": 50},
        ),
    ],
    cascade=Comparison(
        "auto",
        "demo-large",
        {"accuracy": 0.9965, "cpu_seconds": 0.444, "compute_flop": 0.297},
        {
            "accuracy": (0.988, 1.003),
            "cpu_seconds": (0.41, 0.49),
            "compute_flop": (0.26, 0.34),
        },
    ),
    specialist=[
        result("demo-large", 0.61, 9_000_000_000, 1.2),
        result("demo-multiply", 0.97, 900_000_000, 0.4),
    ],
)


def shown(width: int) -> str:
    """What is printed into a terminal of that width."""
    out = io.StringIO()
    show(REPORT, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_a_terminal(width: int) -> None:
    """Every figure with its range, each kind of cost as bars; nothing is cut off."""
    text = shown(width)
    tables = text.split("Against always asking")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert "…" not in text
    for piece in ("DEMONSTRATION", "95.3 %", "91.3-98.3", "44.0", "39.6-48.4", "7.90", "█"):
        assert piece in text


def test_in_words() -> None:
    """Shares of accuracy, CPU and compute, whose answers they were, and the specialist's worth."""
    words = " ".join(in_words(REPORT).split())
    assert "99.7 % (98.8 to 100.3) of its right answers" in words
    assert "44.4 % (41.0 to 49.0) of its engine CPU-seconds" in words
    assert "29.7 % (26.0 to 34.0) of its compute" in words
    assert "170 by demo-small, 80 by demo-medium, 50 by demo-large" in words
    assert "demo-multiply is right in 97.0 % where demo-large is in 61.0 %" in words


def test_the_chart_as_files(tmp_path: Path) -> None:
    """An SVG that parses and a PNG, both marked as a demonstration, each strategy a point."""
    svg, png = tmp_path / "chart.svg", tmp_path / "chart.png"
    draw(REPORT, svg, png)
    assert png.read_bytes().startswith(PNG_MAGIC)
    root = ElementTree.parse(svg).getroot()  # noqa: S314 - it is our own
    assert root.tag.endswith("svg")
    drawn = svg.read_text("utf-8")  # texts are drawn as paths and told in comments
    for name in ("DEMONSTRATION", "demo-small", "demo-medium", "demo-large", "auto"):
        assert f"{name}" in drawn


def test_the_same_report_gives_the_same_chart(tmp_path: Path) -> None:
    """Byte for byte, so that a chart in a repository changes only with its figures."""
    files = [tmp_path / name for name in ("one.svg", "two.svg")]
    for file in files:
        draw(REPORT, file, None)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert list(tmp_path.glob("*.png")) == []


def test_only_the_chart_needs_matplotlib() -> None:
    """Other commands do not pay the second that its import takes."""
    code = "import sys, ecluse.cli.demo; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
