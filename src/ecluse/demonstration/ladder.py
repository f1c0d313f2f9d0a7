"""The demonstration's models as facts: files, sizes, and the threshold that was fitted for them."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import msgspec

MODELS_FOLDER = Path(__file__).parent / "models"
LADDER_FILE = MODELS_FOLDER / "ladder.toml"


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. ``accept_least_logprob`` is None for the largest: its answer is the last word."""

    name: str
    file: str
    sha256: str
    parameters: int
    context_tokens: int
    accept_least_logprob: float | None = None

    @property
    def path(self) -> Path:
        """The GGUF file."""
        return MODELS_FOLDER / self.file


class _Ladder(msgspec.Struct, frozen=True):
    model: tuple[Rung, ...]


@cache
def rungs() -> tuple[Rung, ...]:
    """The models, the least first."""
    return msgspec.convert(tomllib.loads(LADDER_FILE.read_text("utf-8")), _Ladder).model
