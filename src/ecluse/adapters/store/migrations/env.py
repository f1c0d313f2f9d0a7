"""Run by Alembic: applies revisions on the connection that ``migrate`` hands over.

The caller opened the transaction and commits it, so an upgrade happens whole or not at all.
"""

from __future__ import annotations

from alembic import context

from ecluse.adapters.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # SQLite alters most things only by copying the table.
    render_as_batch=True,
)
context.run_migrations()
