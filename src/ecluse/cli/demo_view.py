"""The demonstration's results as a table and a chart for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecluse.evaluation.demonstration import CASCADE_NAME, StrategyResult

BAR_CELLS = 24
PER_CENT = 100


def show(results: Sequence[StrategyResult], console: Console) -> None:
    """Print accuracy, calls, tokens and engine CPU-seconds of each strategy, and what it means."""
    console.print(_table(results))
    console.print(_chart(results))
    console.print(_in_words(results))


def _table(results: Sequence[StrategyResult]) -> Table:
    table = Table(box=box.SIMPLE, title="Demonstration: tiny models that add and sort")
    table.add_column("strategy")
    table.add_column("right (95 % interval)", justify="right")
    for title in ("calls", "prompt tokens", "answer tokens", "engine CPU-seconds"):
        table.add_column(title, justify="right")
    for result in results:
        interval = f"{_share(result.accuracy_low)} to {_share(result.accuracy_high)}"
        table.add_row(
            _label(result),
            f"{_share(result.accuracy)} % ({interval})",
            str(result.calls),
            str(result.prompt_tokens),
            str(result.completion_tokens),
            f"{result.cpu_seconds:.2f}",
            style="bold" if result.name == CASCADE_NAME else "",
        )
    return table


def _chart(results: Sequence[StrategyResult]) -> Table:
    """Two bars a strategy: what is right, and what it took of the engines."""
    dearest = max(result.cpu_seconds for result in results) or 1.0
    chart = Table.grid(padding=(0, 2))
    chart.add_row("", "right answers", "engine CPU-seconds", style="dim")
    for result in results:
        chart.add_row(
            _label(result),
            _bar(result.accuracy, "green", f"{_share(result.accuracy)} %"),
            _bar(result.cpu_seconds / dearest, "yellow", f"{result.cpu_seconds:.2f}"),
        )
    return chart


def _bar(share: float, colour: str, figure: str) -> Text:
    full = round(share * BAR_CELLS)
    bar = Text("█" * full, style=colour)
    bar.append("░" * (BAR_CELLS - full), style="dim")
    return bar.append(f" {figure}")


def _in_words(results: Sequence[StrategyResult]) -> Text:
    cascade = next(result for result in results if result.name == CASCADE_NAME)
    largest = results[-2]
    least = results[0]
    kept = cascade.answered_by.get(least.name, 0)
    accuracy = _ratio(cascade.accuracy, largest.accuracy)
    cpu = _ratio(cascade.cpu_seconds, largest.cpu_seconds)
    return Text(
        f"\n{kept} of {cascade.tasks} answers of the cascade came from {least.name} alone.\n"
        f"Against always asking {largest.name}: {accuracy} of its right answers\n"
        f"for {cpu} of its engine CPU-seconds.\n"
    )


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole * PER_CENT:.1f} %" if whole else "an unknown share"


def _label(result: StrategyResult) -> str:
    return f"{result.name} (cascade)" if result.name == CASCADE_NAME else result.name


def _share(share: float) -> str:
    return f"{share * PER_CENT:.1f}"
