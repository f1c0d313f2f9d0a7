"""A line of the diagnosis."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

import msgspec

from ecluse.domain.errors import EcluseError

HIDDEN = "(hidden)"


class Level(StrEnum):
    """How things stand. ``BROKEN`` keeps the gateway from starting or from answering anything."""

    FINE = "fine"
    WARNING = "warning"
    BROKEN = "broken"


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    ``next_step`` is what the reader can do, empty where nothing is wrong. ``models`` are the
    names under which clients could ask what was found.
    """

    level: Level
    title: str
    detail: str
    next_step: str = ""
    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: EcluseError, title: str, level: Level = Level.BROKEN) -> Self:
        """An error of ours as a finding."""
        return cls(level, title, error.message, error.next_step)

    def without(self, secrets: Iterable[str]) -> Finding:
        """The same with secrets struck out: a server may repeat the key it was shown."""
        title, detail, next_step = self.title, self.detail, self.next_step
        models = self.models
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            detail = detail.replace(secret, HIDDEN)
            next_step = next_step.replace(secret, HIDDEN)
            models = tuple(model.replace(secret, HIDDEN) for model in models)
        return Finding(self.level, title, detail, next_step, models)


def listed(names: Iterable[str], at_most: int = 6) -> str:
    """Names in a row, the rest as a number."""
    every = list(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more} more" if more > 0 else "")
