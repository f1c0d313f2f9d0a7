"""The demonstration's chart as a file. Only here is matplotlib imported: it takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ecluse.demonstration import ladder
from ecluse.evaluation.demonstration import CASCADE_NAME, Report, StrategyResult

INCHES = (10.0, 5.2)
DOTS_PER_INCH = 160
GIGA = 1e9
INK, FAINT, GRID = "#1f2328", "#59636e", "#e6e8eb"
SINGLE, CASCADE, SPECIALIST = "#4b6584", "#c2410c", "#9aa4af"
STYLE = {
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "svg.hashsalt": "ecluse",
}
MARGINS = {"left": 0.085, "right": 0.985, "bottom": 0.11, "top": 0.85, "wspace": 0.06}
ROOM_RIGHT, ROOM_ABOVE, ROOM_BELOW = 1.1, 0.08, 0.04
FAR_RIGHT = 0.75


def draw(report: Report, svg: Path | None, png: Path | None) -> None:
    """Write the chart into the files that are given."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = chart(report)
        if svg is not None:
            figure.savefig(svg, format="svg", metadata={"Date": None})
        if png is not None:
            figure.savefig(png, format="png", dpi=DOTS_PER_INCH)


def chart(report: Report) -> Figure:
    """Accuracy against what was used: engine CPU on the left, compute on the right."""
    figure = Figure(INCHES, facecolor="white")
    FigureCanvasAgg(figure)
    cpu, compute = figure.subplots(1, 2, sharey=True, gridspec_kw=MARGINS)
    _panel(cpu, report, "cpu_seconds", 1.0, "engine CPU-seconds")
    _panel(compute, report, "compute_flop", GIGA, "compute in GFLOP (2 × parameters × tokens)")
    cpu.set_ylabel("right answers")
    cpu.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
    cpu.set_ylim(-ROOM_BELOW, 1 + ROOM_ABOVE)
    heading = f"DEMONSTRATION: tiny models on {report.tasks} held-out tasks"
    figure.text(MARGINS["left"], 0.945, heading, fontsize=13, fontweight="bold")
    figure.text(MARGINS["left"], 0.895, _in_words(report), color=FAINT)
    return figure


def _in_words(report: Report) -> str:
    shares = {name: f"{100 * share:.0f} %" for name, share in report.cascade.shares.items()}
    right = 100 * report.cascade.shares["accuracy"]
    return (
        f"{CASCADE_NAME} gives {right:.1f} % of the right answers of {report.cascade.against} for "
        f"{shares['cpu_seconds']} of its engine CPU and {shares['compute_flop']} of its compute. "
        "Bars hold 95 %."
    )


def _panel(axes: Axes, report: Report, figure: str, unit: float, label: str) -> None:
    rungs = {rung.name for rung in ladder.rungs()}
    singles = [result for result in report.strategies if result.name in rungs]
    _random_mixtures(axes, singles, figure, unit)
    highest = max(result.intervals[figure][1] for result in report.strategies) / unit
    axes.set_xlim(0, highest * ROOM_RIGHT)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for result in report.strategies:
        _point(axes, result, figure, unit)
    axes.set_xlabel(label)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _random_mixtures(
    axes: Axes, singles: Sequence[StrategyResult], figure: str, unit: float
) -> None:
    """What choosing between two neighbours by lot would give: a cascade has to lie above."""
    used = [getattr(result, figure) / unit for result in singles]
    right = [result.accuracy for result in singles]
    axes.plot(used, right, color=SINGLE, linewidth=1.0, linestyle=(0, (4, 3)), alpha=0.7)
    middle = [0.55 * values[-2] + 0.45 * values[-1] for values in (used, right)]
    axes.annotate(
        "a model drawn by lot",
        (middle[0], middle[1]),
        (0, -20),
        textcoords="offset points",
        ha="center",
        color=FAINT,
        fontsize=8.5,
    )


def _point(axes: Axes, result: StrategyResult, figure: str, unit: float) -> None:
    is_cascade = result.name == CASCADE_NAME
    colour = CASCADE if is_cascade else SINGLE
    if result.name == ladder.specialist().name:
        colour = SPECIALIST
    used, right = getattr(result, figure) / unit, result.accuracy
    (left, beyond), (low, high) = result.intervals[figure], result.intervals["accuracy"]
    axes.errorbar(
        used,
        right,
        xerr=[[max(0.0, used - left / unit)], [max(0.0, beyond / unit - used)]],
        yerr=[[right - low], [high - right]],
        fmt="D" if is_cascade else "o",
        markersize=9 if is_cascade else 7,
        color=colour,
        elinewidth=1.4,
        capsize=0,
        zorder=4 if is_cascade else 3,
    )
    _name(axes, result.name, used, right, colour)


def _name(axes: Axes, name: str, used: float, right: float, colour: str) -> None:
    """The strategy's name beside its point: the cascade's above, the others' below."""
    is_cascade = name == CASCADE_NAME
    is_far_right = used > FAR_RIGHT * axes.get_xlim()[1]
    if is_cascade or is_far_right:
        where, alignment = (0, 14 if is_cascade else -24), "center"
    else:
        where, alignment = (9, 6 if right < ROOM_ABOVE else -13), "left"
    axes.annotate(
        _label(name),
        (used, right),
        where,
        textcoords="offset points",
        ha=alignment,
        color=colour,
        fontweight="bold" if is_cascade else "normal",
        fontsize=11 if is_cascade else 9.5,
        zorder=5,
    )


def _label(name: str) -> str:
    if name == ladder.specialist().name:
        return f"{name}, not its task"
    return f"{name} (cascade)" if name == CASCADE_NAME else name
