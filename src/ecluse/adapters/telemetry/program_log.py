"""The program's own log lines, in the same form as the requests': all JSON, or all text."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from ecluse.adapters.telemetry.request_log import LogFormat

TALKATIVE = ("alembic", "uvicorn", "aiosqlite")


def log_to_stderr(log_format: LogFormat) -> None:
    """Send what any part of the program logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else logging.Formatter("%(levelname)s %(message)s")
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.captureWarnings(capture=True)
    for talkative in TALKATIVE:
        logging.getLogger(talkative).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """A line of JSON, whatever is logged; a traceback is one of its members."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter.format."""
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            facts["stack"] = record.stack_info
        # A file's name may hold what is no UTF-8.
        clean = {name: text.encode(errors="replace").decode() for name, text in facts.items()}
        return msgspec.json.encode(clean).decode()
