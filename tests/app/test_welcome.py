"""What a start tells its user."""

from __future__ import annotations

from ecluse.app.welcome import welcome
from ecluse.domain.catalog.deployments import Deployment, Fleet, Offer


def told(fleet: Fleet) -> list[str]:
    """The lines of a start."""
    return welcome("127.0.0.1", 4242, None, fleet).splitlines()


def test_lines_to_paste_stand_flush_left() -> None:
    """Python would take a first line that is indented for a mistake."""
    at_home = Deployment("here/m", "m", "here", "here", Offer("m"))
    lines = told(Fleet({"m": (at_home,)}, {}))
    assert any(line.startswith("curl ") for line in lines)
    python = lines[lines.index("from openai import OpenAI") :]
    compile("\n".join(python), "pasted", "exec")


def test_an_upstream_that_is_silent_is_named_where_nothing_else_is() -> None:
    """Whoever configured it looks for its name first."""
    lines = told(Fleet({}, {}, ("mistral",)))
    assert lines[3].startswith("Models              none found")
    assert "Not reachable       mistral" in lines
