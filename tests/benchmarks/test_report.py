"""What rounds come to: medians, what the cascade adds, goals, and the page."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from benchmarks.closed_loop import StreamResult
from benchmarks.machine import Machine
from benchmarks.measure import Round
from benchmarks.open_loop import RateResult
from benchmarks.render import BEGIN, END, markdown, show, write_docs
from benchmarks.report import Measured, Report
from rich.console import Console


def _round(request_us: float, chunk_us: float, *, failures: int = 0) -> Round:
    latency = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
    requests = RateResult(100, 100 - failures, 0, failures, 5.0, latency)
    streams = StreamResult(10, 10, 0, 2000, 5.0, latency, latency)
    return Round(1.0, 60.0, 80.0, request_us, chunk_us, requests, streams)


def _measured(*costs: tuple[float, float], failures: int = 0) -> Measured:
    return Measured("1.0", 800, [_round(*cost, failures=failures) for cost in costs])


def _report(**changes: object) -> Report:
    """A run in which every goal is met."""
    report = Report(
        date="2026-12-01",
        command="python -m benchmarks",
        machine=Machine("A processor", 2, "Linux", "CPython 3.11"),
        pinned=True,
        seconds=5,
        rounds=3,
        measured={
            "ecluse": _measured((400, 70)),
            "direct": _measured((400, 70), (500, 90), (300, 50)),
            "direct-logprobs": _measured((420, 75), (530, 96), (310, 56)),
            "cascade": _measured((470, 86), (560, 100), (361, 68)),
        },
        missing={"nginx": "it is not installed here: /a/path"},
        broken={},
        help_s=0.3,
    )
    return msgspec.structs.replace(report, **changes)


def test_what_the_cascade_adds_is_the_median_of_differences() -> None:
    """Each to its neighbour in time, not between medians."""
    report = _report()
    request, chunk = report.added("request_us"), report.added("chunk_us")
    assert request is not None
    assert chunk is not None
    assert (request.median, request.least, request.most) == (50, 30, 51)
    assert (chunk.median, chunk.least, chunk.most) == (11, 4, 12)
    beside_none = report.added("request_us", under="direct")
    assert beside_none is not None
    assert beside_none.median == 61


def test_nothing_is_added_where_one_of_the_two_was_not_measured() -> None:
    """Then there is no goal either."""
    report = _report(measured={"cascade": _measured((1, 1))})
    assert report.added("request_us") is None
    assert [goal.text for goal in report.goals()] == ["≤ 0.4 s for `ecluse --help`"]


@pytest.mark.parametrize(
    ("cost", "met"),
    [((480, 90), [True, True]), ((480.1, 90), [False, True]), ((420, 90.1), [True, False])],
)
def test_the_cascades_goals(cost: tuple[float, float], met: list[bool]) -> None:
    """At most 60 µs a request and 15 µs a chunk."""
    report = _report(
        measured={"direct-logprobs": _measured((420, 75)), "cascade": _measured(cost)}, help_s=None
    )
    assert [goal.met for goal in report.goals()] == met
    assert report.is_well() == all(met)


@pytest.mark.parametrize(
    ("changes", "well"),
    [
        ({}, True),
        ({"missing": {"litellm": "not asked for"}}, True),
        ({"missing": {"cascade": "keys create failed"}}, False),
        ({"missing": {"ecluse": "keys create failed"}, "measured": {}}, False),
        ({"broken": {"ecluse": "ended under load"}}, False),
        ({"broken": {"nginx": "no answer"}}, False),
        ({"help_s": 0.5}, False),
        ({"measured": {"nginx": _measured((30, 30), failures=1)}}, False),
        ({"measured": {"ecluse": _measured((float("nan"), 70))}}, False),
    ],
)
def test_strict_takes_only_what_was_measured_to_the_end(
    changes: dict[str, object], well: bool
) -> None:
    """A target that broke after its first round is as bad as a goal that was missed."""
    assert _report(**changes).is_well() == well


def test_the_page_and_the_terminal_tell_the_same(tmp_path: Path) -> None:
    """Both tables, the goals, what is missing; but no path of this machine on the page."""
    report = _report(broken={"litellm": "no answer within 120 s:\n/a/path"})
    page = tmp_path / "performance.md"
    page.write_text(f"Before\n{BEGIN}\nold\n{END}\nAfter\n", "utf-8")
    write_docs(report, page)
    written = page.read_text("utf-8")
    assert written == f"Before\n{BEGIN}\n{markdown(report)}\n{END}\nAfter\n"
    added = (
        "| CPU per request, µs | 400 (300–500) | 420 (310–530) | 470 (361–560) | 50.0 (30.0–51.0) |"
    )
    assert added in written
    assert "| ≤ 60 µs CPU a request that the cascade adds | 50.0 | met |" in written
    assert "nginx was not measured." in written
    assert "LiteLLM broke before its last round." in written
    assert "/a/path" not in written
    console = Console(file=io.StringIO(), record=True, width=200)
    show(report, console)
    shown = console.export_text()
    for text in ("50.0 (30.0–51.0)", "nginx was not measured: it is", "LiteLLM broke: no answer"):
        assert text in shown


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written where it is not known where."""
    page = tmp_path / "page.md"
    page.write_text("Nothing", "utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_docs(_report(), page)
    assert page.read_text("utf-8") == "Nothing"


def test_a_report_without_a_cascade_has_one_table() -> None:
    """`--only nginx` tells nothing of what was not asked for."""
    text = markdown(_report(measured={"nginx": _measured((30, 30))}, missing={}))
    assert "cascade" not in text.lower()


def test_a_cascade_alone_has_one_table_too() -> None:
    """`--only cascade` shows no table of dashes."""
    text = markdown(_report(measured={"cascade": _measured((470, 86))}, missing={}))
    assert text.startswith("|  | Direct | Direct, log-probabilities | Cascade |")
    assert "| – | – | 470 | – |" in text


def test_a_busy_machine_is_told_of() -> None:
    """Figures of a core that others used too do not get onto the page unnoticed."""
    busy = msgspec.structs.replace(_round(400, 70), others_share=0.42)
    quiet = msgspec.structs.replace(_round(400, 70), others_share=0.02)
    told = "Something else took up to 42% of the core"
    assert told in markdown(_report(measured={"ecluse": Measured("1", 800, [quiet, busy])}))
    assert "Something else" not in markdown(_report(measured={"nginx": Measured("1", 1, [quiet])}))
