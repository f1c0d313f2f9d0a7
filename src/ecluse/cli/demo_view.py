"""The demonstration's results as tables, a chart for the terminal, and words."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecluse.demonstration import ladder
from ecluse.evaluation.demonstration import CASCADE_NAME, Comparison, Report, StrategyResult

BAR_CELLS = 12
PER_CENT = 100
GIGA = 1e9


def show(report: Report, console: Console) -> None:
    """Print what each strategy reached and used, and what it means."""
    title = f"DEMONSTRATION: tiny models on {report.tasks} held-out tasks, half easy, half hard"
    console.print(table(report.strategies, title))
    console.print(_chart(report.strategies))
    console.print(table(report.specialist, "DEMONSTRATION: a specialist on its own task, multiply"))
    console.print("Ranges hold 95 %.", style="dim")
    console.print(Text(in_words(report)), soft_wrap=True)


def table(results: Sequence[StrategyResult], title: str) -> Table:
    """One row a strategy, intervals below the figures."""
    made = Table(box=box.SIMPLE, title=title, title_justify="left", title_style="bold")
    made.add_column("strategy", no_wrap=True)
    for heading in ("right", "calls", "tokens", "compute\nGFLOP", "engine CPU\nseconds"):
        made.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        low, high = result.intervals["accuracy"]
        made.add_row(
            _label(result.name),
            f"{_share(result.accuracy)} %\n[dim]{_share(low)}-{_share(high)}[/]",
            f"{result.calls}\n{_range(result, 'calls', 1, 0)}",
            f"{result.prompt_tokens} in\n{result.completion_tokens} out",
            f"{result.compute_flop / GIGA:.1f}\n{_range(result, 'compute_flop', GIGA, 1)}",
            f"{result.cpu_seconds:.2f}\n{_range(result, 'cpu_seconds', 1, 2)}",
            style="bold" if result.name == CASCADE_NAME else "",
        )
    return made


def _range(result: StrategyResult, name: str, unit: float, digits: int) -> str:
    low, high = result.intervals[name]
    return f"[dim]{low / unit:.{digits}f}-{high / unit:.{digits}f}[/]"


def _chart(results: Sequence[StrategyResult]) -> Table:
    """Three bars a strategy: what is right, and what it took."""
    cpu = max(result.cpu_seconds for result in results) or 1.0
    flop = max(result.compute_flop for result in results) or 1
    chart = Table.grid(padding=(0, 2))
    for _ in range(4):
        chart.add_column(no_wrap=True)
    chart.add_row("", "right answers", "engine CPU, s", "compute, GFLOP", style="dim")
    for result in results:
        chart.add_row(
            _label(result.name),
            _bar(result.accuracy, "green", f"{_share(result.accuracy)} %"),
            _bar(result.cpu_seconds / cpu, "yellow", f"{result.cpu_seconds:.2f}"),
            _bar(result.compute_flop / flop, "blue", f"{result.compute_flop / GIGA:.1f}"),
            style="bold" if result.name == CASCADE_NAME else "",
        )
    return chart


def _bar(share: float, colour: str, figure: str) -> Text:
    full = round(share * BAR_CELLS)
    bar = Text("█" * full, style=colour)
    bar.append("░" * (BAR_CELLS - full), style="dim")
    return bar.append(f" {figure}")


def in_words(report: Report) -> str:
    """What the cascade saved, who answered, and what the specialist is worth."""
    cascade = next(result for result in report.strategies if result.name == CASCADE_NAME)
    names = [rung.name for rung in ladder.rungs()]
    answered = ", ".join(f"{cascade.answered_by.get(name, 0)} by {name}" for name in names)
    return (
        f"\nAgainst always asking {report.cascade.against}, the cascade gave "
        f"{_compared(report.cascade, 'accuracy')} of its right answers for "
        f"{_compared(report.cascade, 'cpu_seconds')} of its engine CPU-seconds and "
        f"{_compared(report.cascade, 'compute_flop')} of its compute.\n"
        f"Of its {cascade.tasks} answers {answered}.\n{_specialist_in_words(report.specialist)}\n"
    )


def _specialist_in_words(results: Sequence[StrategyResult]) -> str:
    largest, specialist = results
    return (
        f"On the one task it was made for, {specialist.name} is right in "
        f"{_share(specialist.accuracy)} % where {largest.name} is in {_share(largest.accuracy)} %, "
        f"for {_ratio(specialist.cpu_seconds, largest.cpu_seconds)} of its engine CPU-seconds."
    )


def _compared(comparison: Comparison, name: str) -> str:
    low, high = comparison.intervals[name]
    return f"{_share(comparison.shares[name])} % ({_share(low)} to {_share(high)})"


def _ratio(part: float, whole: float) -> str:
    return f"{_share(part / whole)} %" if whole else "an unknown share"


def _label(name: str) -> str:
    return f"{name} (cascade)" if name == CASCADE_NAME else name


def _share(share: float) -> str:
    return f"{share * PER_CENT:.1f}"
