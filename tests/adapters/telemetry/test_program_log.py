"""The program's own log lines."""

from __future__ import annotations

import json
import logging
import sys

from ecluse.adapters.telemetry.program_log import JsonFormatter


def test_every_line_is_json() -> None:
    """A traceback too is within its line."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        trouble = sys.exc_info()
    record = logging.LogRecord("a.b", logging.ERROR, "f.py", 1, "it %s", ("failed",), trouble)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["event"], told["level"], told["logger"]) == ("log", "error", "a.b")
    assert told["message"] == "it failed"
    assert "ValueError: two\nlines" in told["traceback"]
    assert told["time"].endswith("+00:00")
    record = logging.LogRecord("a", logging.INFO, "f.py", 1, "\udcff.gguf", (), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "?.gguf"
