"""``ecluse --help`` is quick because it imports next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ecluse

HEAVY = ("aiohttp", "alembic", "msgspec", "sqlalchemy", "uvicorn", "xllamacpp")
PROGRAM = f"""\
import sys
from ecluse.cli import main
sys.argv = ["ecluse", "--help"]
try:
    main()
except SystemExit:
    pass
ours = [name for name in sys.modules if name.startswith("ecluse.")]
print(*ours, *({{*{HEAVY}}} & sys.modules.keys()), sep="\\n", file=sys.stderr)
"""


def test_help_imports_no_command() -> None:
    """It shows every command, from their import paths and one line each."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(Path(ecluse.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(command in done.stdout for command in ("serve", "doctor", "keys", "report"))
    assert set(done.stderr.split()) <= {"ecluse.cli", "ecluse.domain", "ecluse.domain.errors"}
