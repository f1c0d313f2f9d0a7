"""What the gateway costs, beside nginx and (with BENCH_PEERS=1) LiteLLM, in one run."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.cores import LOAD_CORE, can_pin, pin_self
from benchmarks.machine import this_machine
from benchmarks.measure import help_seconds, measure, start_mock
from benchmarks.processes import ROOT, NotReady
from benchmarks.render import show, write_docs
from benchmarks.report import Measured, Report
from benchmarks.targets import TARGETS, Prepared, Unavailable


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved (default 3)")
    parser.add_argument(
        "--only", default=",".join(TARGETS), metavar="NAMES", help="comma-separated"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--write-docs", action="store_true", help="into docs/performance.md")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a goal is missed")
    given = parser.parse_args()
    given.only = [name for name in given.only.split(",") if name]
    unknown = sorted(set(given.only) - set(TARGETS))
    if unknown or not given.only:
        parser.error(f"--only takes some of {', '.join(TARGETS)}, not {', '.join(unknown)}")
    if given.rounds < 1 or not 0.5 <= given.seconds <= 300:
        parser.error("--rounds is at least 1, and --seconds between 0.5 and 300")
    return given


def _command(given: argparse.Namespace) -> str:
    """What makes these figures again, without what only says where they go."""
    words = ["python", "-m", "benchmarks", "--seconds", f"{given.seconds:g}"]
    words += ["--rounds", str(given.rounds)]
    if given.only != list(TARGETS):
        words += ["--only", ",".join(given.only)]
    if given.write_docs:
        words.append("--write-docs")
    peers = "BENCH_PEERS=1 " if os.environ.get("BENCH_PEERS") == "1" else ""
    return peers + shlex.join(words)


def _prepare(
    names: list[str], upstream: int, stack: ExitStack, console: Console
) -> tuple[dict[str, Prepared], dict[str, str]]:
    """The targets that can be measured here, and why the others cannot."""
    prepared: dict[str, Prepared] = {}
    missing: dict[str, str] = {}
    for name in names:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        try:
            prepared[name] = TARGETS[name](directory, upstream)
        except Unavailable as reason:
            missing[name] = str(reason)
            console.print(f"[bold yellow]{name}: {reason}[/bold yellow]", highlight=False)
    return prepared, missing


def _rounds(
    targets: dict[str, Prepared], given: argparse.Namespace, console: Console
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Every round of every target, in turns, so that a busy minute hurts them alike.

    What was measured by the ways of asking, and the targets that broke, with the reason.
    """
    found: dict[str, Measured] = {
        way.name: Measured(target.version, target.rate, [])
        for target in targets.values()
        for way in target.ways
    }
    broken: dict[str, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    # It shares the load's core: few refreshes.
    with Progress(
        *columns, TimeElapsedColumn(), console=console, refresh_per_second=1, transient=True
    ) as progress:
        bar = progress.add_task("", total=given.rounds * len(targets))
        for number in range(1, given.rounds + 1):
            for name in [name for name in targets if name not in broken]:

                def tell(step: str, head: str = f"round {number}: {name}: ") -> None:
                    progress.update(bar, description=head + step)

                try:
                    for way, rounds in measure(targets[name], given.seconds, tell).items():
                        found[way].rounds.extend(rounds)
                except (NotReady, subprocess.SubprocessError) as reason:
                    broken[name] = str(reason)
                progress.advance(bar)
    return {way: measured for way, measured in found.items() if measured.rounds}, broken


def _run(given: argparse.Namespace, console: Console) -> Report:
    if can_pin():
        pin_self(LOAD_CORE)
    with ExitStack() as stack:
        mock, upstream = start_mock()
        stack.enter_context(mock)
        targets, missing = _prepare(given.only, upstream, stack, console)
        measured, broken = _rounds(targets, given, console)
    return Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=_command(given),
        machine=this_machine(),
        pinned=can_pin(),
        seconds=given.seconds,
        rounds=given.rounds,
        measured=measured,
        missing=missing,
        broken=broken,
        help_s=help_seconds() if "ecluse" in measured else None,
    )


def main() -> int:
    """Measures, shows, writes; 1 where --strict found a goal missed."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is stopped
    report = _run(given, Console(stderr=True))
    show(report, Console())
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if given.write_docs:
        write_docs(report, ROOT / "docs" / "performance.md")
    return int(given.strict and not report.is_well())


if __name__ == "__main__":
    sys.exit(main())
