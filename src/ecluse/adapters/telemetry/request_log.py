"""One line a request: JSON for machines, a short text for people. No prompt, no answer, no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, Literal

import msgspec

from ecluse.domain.values.request_note import RequestNote

FLUSH_EVERY_S = 0.1
US_PER_MS = 1_000
US_PER_S = 1_000_000

LogFormat = Literal["json", "text"]


class RequestLog:
    """Gathers lines and writes them together, so that a request waits for no file."""

    def __init__(self, out: BinaryIO, log_format: LogFormat) -> None:
        self._out = out
        self._line: Callable[[RequestNote], bytes] = (
            json_line if log_format == "json" else text_line
        )
        self._lines: list[bytes] = []

    def write(self, note: RequestNote) -> None:
        """Take down a request that is over."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_EVERY_S, self.flush)
        self._lines.append(self._line(note))

    def flush(self) -> None:
        """Write what was gathered."""
        if not self._lines:
            return
        text, self._lines = b"".join(self._lines), []
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            return  # whoever read our log has gone; requests matter more


def json_line(note: RequestNote) -> bytes:
    """The line as a JSON object; absent facts are left out."""
    usage = note.usage
    facts: dict[str, object | None] = {
        "time": _time(note.started_at_us),
        "event": "request",
        "request_id": note.request_id,
        "method": note.method,
        "path": note.path,
        "status": note.status,
        "key_id": note.key_id,
        "route": note.route,
        "model": note.model,
        "attempts": note.attempts or None,
        "stream": note.stream or None,
        "first_token_ms": _ms(note.first_token_us),
        "duration_ms": _ms(note.duration_us),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "error": note.error_code,
    }
    return msgspec.json.encode({k: v for k, v in facts.items() if v is not None}) + b"\n"


def text_line(note: RequestNote) -> bytes:
    """The line for a terminal."""
    parts = [
        _time(note.started_at_us)[11:19],
        str(note.status),
        f"{note.duration_us / US_PER_MS:.0f} ms",
        f"{note.method} {note.path}",
    ]
    if note.route is not None:
        answered_by = "" if note.model in (None, note.route) else f" → {note.model}"
        parts.append(note.route + answered_by)
    if note.usage is not None:
        parts.append(f"{note.usage.prompt_tokens}+{note.usage.completion_tokens} tokens")
    if note.error_code is not None:
        parts.append(note.error_code)
    line = "  ".join(parts)
    return "".join(c if c.isprintable() else "?" for c in line).encode(errors="replace") + b"\n"


def _time(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / US_PER_S, UTC).isoformat(timespec="milliseconds")


def _ms(us: int | None) -> float | None:
    return None if us is None else round(us / US_PER_MS, 1)
