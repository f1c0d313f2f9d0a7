"""The report for people: tables on the terminal, and the part of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measure
from benchmarks.report import (
    CASCADE,
    FIGURES,
    SAME_BYTES,
    WITHOUT_LOGPROBS,
    Figure,
    Measured,
    Report,
    Spread,
)

NAMES = {"ecluse": "Ecluse", "nginx": "nginx", "litellm": "LiteLLM"}
WAYS = {
    WITHOUT_LOGPROBS: "Direct",
    SAME_BYTES: "Direct, log-probabilities",
    CASCADE: "Cascade",
}
ALL_NAMES = NAMES | WAYS
ADDED = "The cascade adds"
OF_A_CASCADE = {
    *("request_us", "chunk_us"),
    *("latency_p50_ms", "latency_p99_ms", "chunk_p50_ms", "chunk_p99_ms"),
}
OTHERS_AT_MOST = 0.1
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
    return "–" if measured is None else _spread(measured.spread(figure.name), figure.digits)


def show(report: Report, console: Console) -> None:
    """Prints the tables, the ratios and the goals."""
    if _has_main(report):
        title = f"Medians of {report.rounds} rounds (least–most)"
        _print_table(console, title, ["", *NAMES.values()], _main_rows(report))
    if CASCADE in report.measured:
        title = "The cascade, its first answer accepted"
        _print_table(console, title, ["", *WAYS.values(), ADDED], _cascade_rows(report))
    for line in [*_ratios(report), *_beside_none(report)]:
        console.print(line, highlight=False)
    for goal in report.goals():
        verdict = "[green]met[/green]" if goal.met else "[bold red]missed[/bold red]"
        console.print(f"{verdict}  {goal.text}: {goal.measured}", highlight=False)
    reasons = [f"{ALL_NAMES[name]} was not measured: {why}" for name, why in report.missing.items()]
    reasons += [f"{ALL_NAMES[name]} broke: {why}" for name, why in report.broken.items()]
    for line in [*reasons, *_warnings(report)]:
        console.print(f"[bold yellow]{line}[/bold yellow]", highlight=False)


def markdown(report: Report) -> str:
    """The part of docs/performance.md between its two marks."""
    lines: list[str] = []
    if _has_main(report):
        headings = ["", *(_heading(report, name) for name in NAMES)]
        lines += [*_markdown_table(headings, list(_main_rows(report))), ""]
        lines += [*(f"- {line}" for line in _ratios(report)), ""]
    if CASCADE in report.measured:
        lines += [*_markdown_table(["", *WAYS.values(), ADDED], list(_cascade_rows(report))), ""]
        lines += [*(f"- {line}" for line in _beside_none(report)), ""]
    lines += ["| Goal of the project | Measured | |", "|---|---:|---|"]
    for goal in report.goals():
        lines.append(f"| {goal.text} | {goal.measured} | {'met' if goal.met else '**missed**'} |")
    lines += ["", _made_on(report), "", "```sh", report.command, "```"]
    # Why something is missing can name files of this machine: it is not for the page.
    notes = [f"{ALL_NAMES[name]} was not measured." for name in report.missing]
    notes += [f"{ALL_NAMES[name]} broke before its last round." for name in report.broken]
    notes += _warnings(report)
    return "\n".join([*lines, "", *notes] if notes else lines)


def write_docs(report: Report, page: Path) -> None:
    """Replaces what lies between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{markdown(report)}\n{END}{after}", encoding="utf-8")


def _has_main(report: Report) -> bool:
    return any(name in report.measured for name in NAMES)


def _main_rows(report: Report) -> Iterator[list[str]]:
    for figure in FIGURES:
        yield [_label(figure), *(cell(report.measured.get(name), figure) for name in NAMES)]


def _cascade_rows(report: Report) -> Iterator[list[str]]:
    for figure in FIGURES:
        if figure.name in OF_A_CASCADE:
            added = report.added(figure.name)
            cells = [cell(report.measured.get(name), figure) for name in WAYS]
            cells.append("–" if added is None else _spread(added, max(1, figure.digits)))
            yield [_label(figure), *cells]


def _print_table(
    console: Console, title: str, headings: list[str], rows: Iterator[list[str]]
) -> None:
    table = Table(title=title)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", "|---" + "|---:" * (len(headings) - 1) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _spread(spread: Spread, digits: int) -> str:
    median = f"{spread.median:,.{digits}f}"
    if spread.least == spread.most:
        return median
    return f"{median} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"


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


def _beside_none(report: Report) -> list[str]:
    """The cascade beside a request whose upstream sends no log-probabilities."""
    request = report.added("request_us", under=WITHOUT_LOGPROBS)
    chunk = report.added("chunk_us", under=WITHOUT_LOGPROBS)
    if request is None or chunk is None:
        return []
    costs = f"{request.median:.1f} µs a request and {chunk.median:.1f} µs a chunk"
    return [f"With reading log-probabilities, the cascade costs {costs} more than without any."]


def _made_on(report: Report) -> str:
    machine = report.machine
    rates = ", ".join(f"{ALL_NAMES[name]} {one.rate:g}/s" for name, one in report.measured.items())
    return (
        f"Measured on {report.date}: {machine.cpu}, {machine.cores} cores, {machine.system}, "
        f"{machine.python}; medians of {report.rounds} interleaved rounds, least and most in "
        f"brackets. Requests of {measure.BODY_BYTES} bytes over {measure.CONNECTIONS} connections "
        f"for {report.seconds:g} s ({rates}), then {measure.STREAMS} concurrent streams of "
        f"{measure.CHUNKS_PER_STREAM} chunks, one every {measure.CHUNK_INTERVAL_MS} ms. The CPU "
        "time of a chunk is what streaming took, less the request figure for every stream."
    )


def _warnings(report: Report) -> list[str]:
    lines = [
        f"{count} requests or streams of {ALL_NAMES[name]} failed: do not trust its figures."
        for name, count in report.failures().items()
    ]
    offered = measure.STREAMS * 1000 / measure.CHUNK_INTERVAL_MS
    for name, measured in report.measured.items():
        if offered * measured.spread("chunk_us").median > 0.9e6:
            lines.append(
                f"The streams were more than {ALL_NAMES[name]} can carry on one core: its chunk "
                "latency is that of an overloaded process."
            )
    if report.others_share() > OTHERS_AT_MOST:
        lines.append(
            f"Something else took up to {report.others_share():.0%} of the core that was measured: "
            "latencies are not to be trusted, and CPU times are too high."
        )
    if not report.pinned:
        lines.append("Processes could not be pinned to two cores here: the figures are noisier.")
    return lines
