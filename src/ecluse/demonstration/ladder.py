"""The demonstration's models as facts: files, sizes, and the rules that were fitted for them."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import msgspec

MODELS_FOLDER = Path(__file__).parent / "models"
LADDER_FILE = MODELS_FOLDER / "ladder.toml"


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model.

    ``accept_least_logprob`` is None for the largest: its answer is the last word. While it is
    streamed, an answer of which ``commit_after_tokens`` tokens were certain enough may go out
    without waiting for the rest; None waits for its end. ``specialist_in`` names the one family
    of tasks a model was made for; it is no rung then. ``flash_attention`` says whether the engine
    should use it: on a processor it slows the narrowest models down; None leaves it to the engine.
    """

    name: str
    file: str
    sha256: str
    parameters: int
    context_tokens: int
    accept_least_logprob: float | None = None
    commit_after_tokens: int | None = None
    specialist_in: str | None = None
    flash_attention: bool | None = None

    @property
    def path(self) -> Path:
        """The GGUF file."""
        return MODELS_FOLDER / self.file


class _Ladder(msgspec.Struct, frozen=True):
    model: tuple[Rung, ...]


@cache
def models() -> tuple[Rung, ...]:
    """All models: the rungs, the least first, then the specialist."""
    return msgspec.convert(tomllib.loads(LADDER_FILE.read_text("utf-8")), _Ladder).model


@cache
def rungs() -> tuple[Rung, ...]:
    """The generalists, the least first: the stages of the route ``demo``."""
    return tuple(model for model in models() if model.specialist_in is None)


@cache
def specialist() -> Rung:
    """The model that has one task only."""
    (found,) = (model for model in models() if model.specialist_in is not None)
    return found
