"""The report for people: a table on the terminal, and the part of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measure
from benchmarks.report import FIGURES, Figure, Measured, Report

NAMES = {"ecluse": "Ecluse", "nginx": "nginx", "litellm": "LiteLLM"}
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
RATIOS = [
    ("request_us", "CPU per request", "ecluse", "nginx"),
    ("request_us", "CPU per request", "litellm", "ecluse"),
    ("chunk_us", "CPU per SSE chunk", "ecluse", "nginx"),
    ("chunk_us", "CPU per SSE chunk", "litellm", "ecluse"),
    ("loaded_mb", "Resident, after the load", "litellm", "ecluse"),
]


def cell(measured: Measured | None, figure: Figure) -> str:
    """A median with its spread, or a dash."""
    if measured is None:
        return "–"
    spread, digits = measured.spread(figure.name), figure.digits
    median = f"{spread.median:,.{digits}f}"
    if spread.least == spread.most:
        return median
    return f"{median} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"


def show(report: Report, console: Console) -> None:
    """Prints the table, the ratios and the targets."""
    table = Table(title=f"Medians of {_rounds(report)} rounds (least–most)")
    table.add_column("")
    for name in NAMES:
        table.add_column(NAMES[name], justify="right")
    for figure in FIGURES:
        cells = [cell(report.measured.get(name), figure) for name in NAMES]
        table.add_row(_label(figure), *cells)
    console.print(table)
    for line in _ratios(report):
        console.print(line, highlight=False)
    for goal in report.goals():
        verdict = "[green]met[/green]" if goal.met else "[bold red]missed[/bold red]"
        console.print(f"{verdict}  {goal.text}: {goal.measured}", highlight=False)
    reasons = [f"{NAMES[name]} was not measured: {why}" for name, why in report.missing.items()]
    for line in [*reasons, *_warnings(report)]:
        console.print(f"[bold yellow]{line}[/bold yellow]", highlight=False)


def markdown(report: Report) -> str:
    """The part of docs/performance.md between its two marks."""
    lines = [
        f"| | {' | '.join(_heading(report, name) for name in NAMES)} |",
        "|---|---:|---:|---:|",
    ]
    for figure in FIGURES:
        cells = [cell(report.measured.get(name), figure) for name in NAMES]
        lines.append(f"| {_label(figure)} | {' | '.join(cells)} |")
    lines += ["", *(f"- {line}" for line in _ratios(report))]
    lines += ["", "| Target of the project | Measured | |", "|---|---:|---|"]
    for goal in report.goals():
        lines.append(f"| {goal.text} | {goal.measured} | {'met' if goal.met else '**missed**'} |")
    lines += ["", _made_on(report), "", "```sh", report.command, "```"]
    # Why something is missing can name files of this machine: it is not for the page.
    notes = [f"{NAMES[name]} was not measured." for name in report.missing] + _warnings(report)
    return "\n".join([*lines, "", *notes] if notes else lines)


def write_docs(report: Report, page: Path) -> None:
    """Replaces what lies between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{markdown(report)}\n{END}{after}", encoding="utf-8")


def _rounds(report: Report) -> int:
    return max((len(measured.rounds) for measured in report.measured.values()), default=0)


def _label(figure: Figure) -> str:
    return f"{figure.label}, {figure.unit}" if figure.unit else figure.label


def _heading(report: Report, name: str) -> str:
    measured = report.measured.get(name)
    return f"{NAMES[name]} {measured.version}" if measured else f"{NAMES[name]} (not measured)"


def _ratios(report: Report) -> list[str]:
    lines = []
    for name, label, over, under in RATIOS:
        ratio = report.ratio(name, over, under)
        if ratio is not None:
            lines.append(f"{label}: {NAMES[over]} takes {ratio:.1f} × what {NAMES[under]} takes.")
    return lines


def _made_on(report: Report) -> str:
    machine = report.machine
    rates = ", ".join(f"{NAMES[name]} {one.rate:g}/s" for name, one in report.measured.items())
    return (
        f"Measured on {report.date}: {machine.cpu}, {machine.cores} cores, {machine.system}, "
        f"{machine.python}; medians of {_rounds(report)} interleaved rounds, least and most in "
        f"brackets. Requests of {measure.BODY_BYTES} bytes over {measure.CONNECTIONS} connections "
        f"for {report.seconds:g} s ({rates}), then {measure.STREAMS} concurrent streams of "
        f"{measure.CHUNKS_PER_STREAM} chunks, one every {measure.CHUNK_INTERVAL_MS} ms. The CPU "
        "time of a chunk is what streaming took, less the request figure for every stream."
    )


def _warnings(report: Report) -> list[str]:
    lines = [
        f"{count} requests or streams of {NAMES[name]} failed: do not trust its figures."
        for name, count in report.failures().items()
    ]
    offered = measure.STREAMS * 1000 / measure.CHUNK_INTERVAL_MS
    for name, measured in report.measured.items():
        if offered * measured.spread("chunk_us").median > 0.9e6:
            lines.append(
                f"The streams were more than {NAMES[name]} can carry on one core: its chunk "
                "latency is that of an overloaded process."
            )
    if not report.pinned:
        lines.append("Processes could not be pinned to two cores here: the figures are noisier.")
    return lines
