"""The attempts' ledger in SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, distinct, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ecluse.adapters.store.failures import translated
from ecluse.adapters.store.schema import attempts
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.ledger.usage_report import UsageLine, UsageQuery
from ecluse.domain.values.answer import Outcome

_US_PER_DAY = 86_400_000_000

# Appending is the one warm statement, so its text is made once and skips SQLAlchemy's compiler.
# A batch whose commit was in doubt is sent again by the writer: the same id is the same attempt,
# and leaving the row that stands makes that safe. Any other constraint still fails loudly.
_APPEND = (
    f"INSERT INTO attempts ({', '.join(attempts.c.keys())}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' for _ in attempts.c)}) ON CONFLICT (attempt_id) DO NOTHING"
)


class SqliteLedger:
    """The Ledger port over a migrated database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, records: Sequence[AttemptRecord]) -> None:
        """Write records in one transaction; one that is already there stays as it is."""
        if not records:
            return
        rows = [_row(record) for record in records]
        with translated():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_APPEND, rows)

    async def usage(self, query: UsageQuery) -> Sequence[UsageLine]:
        """Sum attempts, one line a group, in the groups' order."""
        with translated():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(_usage_statement(query))).all()
        return _lines(rows, days=query.group_by == "day")


def _row(record: AttemptRecord) -> tuple[str | int | None, ...]:
    """The record's values in the table's column order."""
    usage, price = record.usage, record.price
    return (
        record.attempt_id,
        record.request_id,
        record.key_id,
        record.route,
        record.model,
        record.deployment,
        record.stage,
        record.streamed,
        record.started_at_us,
        record.first_event_us,
        record.duration_us,
        record.outcome,
        record.finish_reason,
        record.error_code,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.source,
        None if price is None else price.nano,
        None if price is None else price.currency,
    )


def _usage_statement(query: UsageQuery) -> Select[Any]:
    """Sums per group, joined with the spend per group and currency.

    One statement, so that both halves see the same moment; two sums, because a request with
    attempts in two currencies still is one request.
    """
    columns = attempts.c
    group = _group(query).label("grp")
    totals = select(
        group,
        func.count().label("attempts"),
        func.count(distinct(columns.request_id)).label("requests"),
        func.sum(columns.prompt_tokens).label("prompt_tokens"),
        func.sum(columns.cached_tokens).label("cached_tokens"),
        func.sum(columns.completion_tokens).label("completion_tokens"),
        func.sum(columns.reasoning_tokens).label("reasoning_tokens"),
        _count_if(columns.usage_source != "reported").label("estimated_attempts"),
        _count_if(columns.price_nano.is_(None)).label("unpriced_attempts"),
        _count_if(columns.outcome == Outcome.FAILED.value).label("failed_attempts"),
    )
    spends = select(group, columns.price_currency, func.sum(columns.price_nano).label("nano"))
    within = _within(query)
    total = totals.where(*within).group_by("grp").cte("totals")
    spend = (
        spends.where(columns.price_nano.is_not(None), *within)
        .group_by("grp", columns.price_currency)
        .cte("spends")
    )
    joined = total.outerjoin(spend, total.c.grp == spend.c.grp)
    statement = select(total, spend.c.price_currency, spend.c.nano).select_from(joined)
    return statement.order_by(total.c.grp, spend.c.price_currency)


def _group(query: UsageQuery) -> ColumnElement[Any]:
    if query.group_by == "total":
        return literal("total")
    if query.group_by == "day":
        return attempts.c.started_at_us // _US_PER_DAY
    return attempts.c["key_id" if query.group_by == "key" else query.group_by]


def _within(query: UsageQuery) -> list[ColumnElement[bool]]:
    started = attempts.c.started_at_us
    bounds = []
    if query.since_us is not None:
        bounds.append(started >= query.since_us)
    if query.until_us is not None:
        bounds.append(started < query.until_us)
    return bounds


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _lines(rows: Iterable[Sequence[Any]], *, days: bool) -> list[UsageLine]:
    """Fold the rows of one group, a row a currency, into one line."""
    spends: dict[tuple[Any, ...], dict[str, int]] = {}
    for *sums, currency, nano in rows:
        spend = spends.setdefault(tuple(sums), {})
        if currency is not None:
            spend[currency] = nano
    return [
        UsageLine(*(_day(group) if days else group, *sums, spend))
        for (group, *sums), spend in spends.items()
    ]


def _day(days_since_epoch: int) -> str:
    return datetime.fromtimestamp(days_since_epoch * 86_400, UTC).date().isoformat()
