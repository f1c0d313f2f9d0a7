"""The first tables: keys, their revision, and the attempts' ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _make_keys()
    _make_attempts()
    # These guard against our own mistakes and a slip in the SQL shell, not against somebody who
    # owns the file: that takes a signed log.
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER attempts_refuse_{change.lower()} BEFORE {change} ON attempts "
            "BEGIN SELECT RAISE(ABORT, 'attempts are append-only'); END"
        )


def downgrade() -> None:
    """Drop the tables with all they hold."""
    for table in ("attempts", "keys_revision", "keys"):
        op.drop_table(table)


def _make_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary, nullable=False),
        sa.Column("created_at_s", sa.Integer, nullable=False),
        sa.Column("routes", sa.Text),
        sa.Column("expires_at_s", sa.Integer),
        sa.Column("revoked_at_s", sa.Integer),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_keys")),
        sqlite_strict=True,
    )
    revision_table = op.create_table(
        "keys_revision",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys_revision")),
        sa.CheckConstraint("id = 1", name=op.f("ck_keys_revision_one_row")),
        sqlite_strict=True,
    )
    op.bulk_insert(revision_table, [{"id": 1, "revision": 0}])


def _make_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("streamed", sa.Integer, nullable=False),
        sa.Column("started_at_us", sa.Integer, nullable=False),
        sa.Column("first_event_us", sa.Integer),
        sa.Column("duration_us", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("finish_reason", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("cached_tokens", sa.Integer, nullable=False),
        sa.Column("reasoning_tokens", sa.Integer, nullable=False),
        sa.Column("usage_source", sa.Text, nullable=False),
        sa.Column("price_nano", sa.Integer),
        sa.Column("price_currency", sa.Text),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
        sa.CheckConstraint(
            "(price_nano IS NULL) = (price_currency IS NULL)",
            name=op.f("ck_attempts_price_whole"),
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_attempts_started_at_us"), "attempts", ["started_at_us"])
