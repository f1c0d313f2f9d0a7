"""The line that a request leaves behind."""

from __future__ import annotations

import pytest

from ecluse.adapters.telemetry.request_log import text_line
from ecluse.domain.values.request_note import RequestNote


@pytest.mark.parametrize(
    ("route", "model", "shown"),
    [
        ("auto", "qwen3-4b", "auto → qwen3-4b"),
        ("qwen3-4b", "qwen3-4b", "qwen3-4b"),
        ("auto", None, "auto"),
        (None, None, None),
    ],
)
def test_who_answered(route: str | None, model: str | None, shown: str | None) -> None:
    """The model beside the route where it is another; nothing where nobody answered."""
    note = RequestNote("req_1", "POST", "/v1/x", 0, status=502, route=route, model=model)
    parts = text_line(note).decode().rstrip("\n").split("  ")
    assert parts == ["00:00:00", "502", "0 ms", "POST /v1/x", *([] if shown is None else [shown])]
