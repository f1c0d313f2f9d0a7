"""The tables as this version of the program uses them; ``migrations/`` is how a file gets there.

Tables are STRICT: SQLite then refuses a text in an integer's column, as other databases do.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("created_at_s", Integer, nullable=False),
    # A JSON array of names, sorted; NULL means every route.
    Column("routes", Text),
    Column("expires_at_s", Integer),
    Column("revoked_at_s", Integer),
    sqlite_strict=True,
)

keys_revision = Table(
    "keys_revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    sqlite_strict=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    # No foreign key: what was used stays on the books whatever becomes of the key.
    Column("key_id", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("streamed", Integer, nullable=False),
    Column("started_at_us", Integer, nullable=False),
    Column("first_event_us", Integer),
    Column("duration_us", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("finish_reason", Text),
    Column("error_code", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("usage_source", Text, nullable=False),
    Column("price_nano", Integer),
    Column("price_currency", Text),
    CheckConstraint("(price_nano IS NULL) = (price_currency IS NULL)", name="price_whole"),
    Index(None, "started_at_us"),
    sqlite_strict=True,
    # Attempt ids sort by time, so a table ordered by them grows at its end, and there is one
    # tree to write instead of a table and its index.
    sqlite_with_rowid=False,
)
