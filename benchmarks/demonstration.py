"""Runs ``ecluse demo`` and puts its table and chart into the README: ``python -m
benchmarks.demonstration``. Nothing of it is written by hand.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import this_machine
from benchmarks.processes import ROOT, module, own_environment

BEGIN, END = "<!-- demo:begin -->", "<!-- demo:end -->"
CHART = Path("docs/images/demo.png")
VECTORS = Path("docs/images/demo.svg")
COMMAND = "ecluse demo"
PARAMETERS_SHOWN = {"demo-small": "0.14 M", "demo-medium": "1 M", "demo-large": "5 M"}


def run() -> dict[str, Any]:
    """The demonstration's report; the charts lie where the README looks for them."""
    (ROOT / CHART).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        out = Path(folder) / "demo.json"
        options = ["--json", str(out), "--png", str(ROOT / CHART), "--svg", str(ROOT / VECTORS)]
        subprocess.run(
            module("ecluse", "demo", *options), cwd=ROOT, env=own_environment(), check=True
        )
        report: dict[str, Any] = msgspec.json.decode(out.read_bytes())
    return report


def markdown(report: dict[str, Any], machine: str) -> str:
    """The part of the README between the marks."""
    rows = [_row(strategy) for strategy in report["strategies"]]
    return "\n".join(
        [
            f"![Demonstration: accuracy against what it took]({CHART.as_posix()})",
            "",
            "| strategy | right answers (95 %) | calls | tokens | compute | engine CPU |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            _in_words(report, machine),
        ]
    )


def _in_words(report: dict[str, Any], machine: str) -> str:
    cascade = report["cascade"]
    shares = cascade["shares"]
    return (
        f"`{COMMAND}` on {report['tasks']} held-out tasks ({machine}): the cascade gave "
        f"{shares['accuracy']:.1%} of the right answers of always asking "
        f"`{cascade['against']}`, for {shares['cpu_seconds']:.0%} of its engine CPU-seconds and "
        f"{shares['compute_flop']:.0%} of its compute. The models are a demonstration: tiny, "
        "trained for these tasks, and good for nothing else. What they show is the way."
    )


def _row(strategy: dict[str, Any]) -> str:
    low, high = strategy["intervals"]["accuracy"]
    tokens = strategy["prompt_tokens"] + strategy["completion_tokens"]
    name = f"`{strategy['name']}`"
    size = PARAMETERS_SHOWN.get(strategy["name"])
    label = f"{name} ({size} parameters)" if size else name
    cells = [
        f"**{name} (the cascade)**" if strategy["name"] == "auto" else label,
        f"{strategy['accuracy']:.1%} ({low:.1%} to {high:.1%})",
        str(strategy["calls"]),
        f"{tokens:,}",
        f"{strategy['compute_flop'] / 1e9:.1f} GFLOP",
        f"{strategy['cpu_seconds']:.2f} s",
    ]
    return "| " + " | ".join(cells) + " |"


def write(text: str, page: Path) -> None:
    """Replace what lies between the marks of a page. Raises ValueError where it has none."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> None:
    """Measure, and write the README's part."""
    machine = this_machine()
    shown = f"{machine.cpu}, {machine.cores} cores, {machine.python}"
    write(markdown(run(), shown), ROOT / "README.md")


if __name__ == "__main__":
    main()
