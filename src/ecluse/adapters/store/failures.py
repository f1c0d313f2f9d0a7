"""Database trouble at run time, in our error tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ecluse.domain.errors import StoreFailed


@contextmanager
def translated() -> Iterator[None]:
    """Raise StoreFailed for whatever the database layer raises.

    OverflowError is the driver's word for an integer beyond 64 bits.
    """
    try:
        yield
    except (SQLAlchemyError, OverflowError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StoreFailed(
            f"The database failed: {reason}.",
            next_step="See that its disk has room and that no other program holds the file.",
        ) from error
