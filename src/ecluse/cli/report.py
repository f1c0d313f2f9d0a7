"""``ecluse report usage``: what was used, and what it cost."""

from __future__ import annotations

import asyncio
import csv as csv_format
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ecluse.cli.moments import iso, moment_us
from ecluse.cli.open_store import store_directory
from ecluse.cli.tables import print_json, print_table
from ecluse.domain.errors import InvalidRequest
from ecluse.domain.ledger.usage_report import Grouping, UsageLine, UsageQuery

NANO_DIGITS = 9
_COUNTS = (
    "attempts",
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "estimated_attempts",
    "unpriced_attempts",
    "failed_attempts",
)


def usage(
    *,
    by: Grouping = "model",
    since: str | None = None,
    until: str | None = None,
    json: bool = False,
    csv: bool = False,
    config: Path | None = None,
) -> None:
    """Show what was used and what it cost.

    Parameters
    ----------
    by
        What makes a line of the report.
    since
        A UTC date like 2026-11-24, or how long ago, like 7d. Without it: from the beginning.
    until
        A UTC date, that day included, or how long ago. Without it: until now.
    json
        Print one JSON object, amounts as decimal texts.
    csv
        Print comma-separated values; an unknown price is an empty cell, each further currency of a
        line is a line of its own.
    config
        The configuration file.
    """
    if json and csv:
        raise InvalidRequest("Choose one of --json and --csv.")
    directory = store_directory(config)
    query = _query(by, since, until)
    lines, total = asyncio.run(_read(directory, query))
    if json:
        print_json(_json(query, lines, total))
    elif csv:
        _print_csv(by, lines)
    elif total is None:
        _print_nothing(directory, query)
    else:
        _print_lines(by, lines, total)


def decimal_text(nano: int) -> str:
    """Billionths as an exact decimal number, with at least two decimals."""
    whole, rest = divmod(abs(nano), 10**NANO_DIGITS)
    decimals = f"{rest:0{NANO_DIGITS}}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{decimals}"


def _query(by: Grouping, since: str | None, until: str | None) -> UsageQuery:
    from ecluse.adapters.system_clock import SystemClock

    now_us = SystemClock().unix_us()
    return UsageQuery(
        by,
        None if since is None else moment_us(since, now_us),
        None if until is None else moment_us(until, now_us, end_of_day=True),
    )


async def _read(directory: Path, query: UsageQuery) -> tuple[Sequence[UsageLine], UsageLine | None]:
    """The report's lines, keys by their names, and the total where there is anything."""
    from ecluse.adapters.store.store import open_store

    async with open_store(directory) as store:
        lines = await store.ledger.usage(query)
        totals = await store.ledger.usage(msgspec.structs.replace(query, group_by="total"))
        if query.group_by == "key":
            names = {str(key.key_id): key.name for key in await store.keys.all()}
            lines = [_named(line, names) for line in lines]
    return lines, totals[0] if totals else None


def _named(line: UsageLine, names: dict[str, str]) -> UsageLine:
    name = names.get(line.group)
    return line if name is None else msgspec.structs.replace(line, group=f"{name} ({line.group})")


def _json(
    query: UsageQuery, lines: Sequence[UsageLine], total: UsageLine | None
) -> dict[str, object]:
    return {
        "by": query.group_by,
        "since": None if query.since_us is None else iso(query.since_us // 1_000_000),
        "until": None if query.until_us is None else iso(query.until_us // 1_000_000),
        "lines": [_json_line(line) for line in lines],
        "total": None if total is None else _json_line(total),
    }


def _json_line(line: UsageLine) -> dict[str, object]:
    counts = {name: getattr(line, name) for name in _COUNTS}
    spend = {currency: decimal_text(nano) for currency, nano in line.spend_nano.items()}
    return {"group": line.group, **counts, "spend": spend}


def _print_csv(by: Grouping, lines: Sequence[UsageLine]) -> None:
    """The same columns whatever was used. A line that is priced in several currencies is followed
    by one for each further one, its counts empty, so that sums over columns are right.
    """
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow([by, *_COUNTS, "spend", "currency"])
    for line in lines:
        counts: list[object] = [getattr(line, name) for name in _COUNTS]
        spend = [(decimal_text(nano), code) for code, nano in sorted(line.spend_nano.items())]
        for amount, currency in spend or [("", "")]:
            writer.writerow([line.group, *counts, amount, currency])
            counts = [""] * len(_COUNTS)


def _print_nothing(directory: Path, query: UsageQuery) -> None:
    if query.since_us is None and query.until_us is None:
        print(
            f"Nothing has been asked yet: the ledger in {directory} is empty. "
            "Start the gateway with `ecluse serve` and send it a request."
        )
    else:
        print("Nothing was asked in this time. Without --since and --until you see all there is.")


def _print_lines(by: Grouping, lines: Sequence[UsageLine], total: UsageLine) -> None:
    titles = ("requests", "attempts", "failed", "prompt", "cached", "completion", "reasoning")
    headings = [(by, False), *((title, True) for title in titles), ("spend", True)]
    footer = _cells(msgspec.structs.replace(total, group="total"))
    print_table(headings, map(_cells, lines), footer if by != "total" else ())
    if total.estimated_attempts:
        print(f"~ Tokens of {total.estimated_attempts} attempts were counted here, not reported.")
    if total.unpriced_attempts:
        print(
            f"The price of {total.unpriced_attempts} attempts is unknown and in no sum. "
            "The configuration can set one for each model that it names."
        )


def _cells(line: UsageLine) -> tuple[str, ...]:
    mark = "~" if line.estimated_attempts else ""
    tokens = (
        line.prompt_tokens,
        line.cached_tokens,
        line.completion_tokens,
        line.reasoning_tokens,
    )
    return (
        line.group,
        f"{line.requests:,}",
        f"{line.attempts:,}",
        f"{line.failed_attempts:,}",
        *(f"{mark}{count:,}" for count in tokens),
        _spend(line),
    )


def _spend(line: UsageLine) -> str:
    """Amounts a currency a line; unknown prices as such, never as nothing."""
    amounts = [f"{decimal_text(nano)} {currency}" for currency, nano in line.spend_nano.items()]
    if line.unpriced_attempts:
        amounts.append(f"{line.unpriced_attempts:,} unknown" if amounts else "unknown")
    return "\n".join(amounts)
