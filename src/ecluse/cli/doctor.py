"""``ecluse doctor``: what is there, what is missing, what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecluse.cli.tables import print_json, printable
from ecluse.diagnosis.examination import examine
from ecluse.diagnosis.finding import Finding, Level

MARKS = {Level.FINE: "✓", Level.WARNING: "!", Level.BROKEN: "✗"}
PLAIN_MARKS = {Level.FINE: "+", Level.WARNING: "!", Level.BROKEN: "x"}
STYLES = {Level.FINE: "green", Level.WARNING: "yellow", Level.BROKEN: "bold red"}
WIDTH = 80
TITLE_WIDTH = 20


def doctor(*, config: Path | None = None, json: bool = False) -> None:
    """Explain what is there, what is missing, what to do.

    Changes nothing. Exits with 0 if the gateway could answer something, with 1 if not.

    Parameters
    ----------
    config
        The configuration file. Without it: the one $ECLUSE_CONFIG names, else ./ecluse.toml.
    json
        Print a JSON array of findings: level (fine, warning, broken), title, detail, next_step
        and models.
    """
    findings = asyncio.run(examine(config, os.environ, Path()))
    if json:
        print_json(findings)
    else:
        _show(findings)
    if any(finding.level is Level.BROKEN for finding in findings):
        sys.exit(1)


def _show(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDTH, highlight=False)
    writes_unicode = console.encoding.lower().startswith("utf")
    marks, arrow = (MARKS, "→ ") if writes_unicode else (PLAIN_MARKS, "-> ")
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column()
    table.add_column(width=TITLE_WIDTH, overflow="fold")
    table.add_column(overflow="fold")
    for finding in findings:
        style = STYLES[finding.level]
        words = Text(printable(finding.detail))
        if finding.next_step:
            words.append(f"\n{arrow}{printable(finding.next_step)}", style="bold")
        table.add_row(
            Text(marks[finding.level], style=style), Text(printable(finding.title)), words
        )
    console.print(table)
