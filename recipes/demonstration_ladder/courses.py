"""How each model was trained: numbers only, so that the card can tell them without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ecluse.demonstration.tasks import SPECIALIST_KINDS, Kind

Groups = Mapping[tuple[Kind, ...], float]
"""Kinds that share a batch, and how often such a batch comes."""

BROAD: Groups = {
    tuple(Kind("add", d) for d in (2, 3, 4, 6, 8)): 3.0,
    tuple(Kind("sort", d) for d in (4, 8)): 1.0,
    tuple(Kind("sort", d) for d in (12, 16, 20, 24)): 2.0,
    tuple(Kind("reverse", d) for d in (3, 5, 7, 9, 11, 13)): 2.0,
    tuple(Kind("chain", d) for d in (2, 3, 4, 5)): 2.5,
    tuple(Kind("count", d) for d in (1, 3, 7)): 2.0,
    SPECIALIST_KINDS: 0.5,
}
FOCUSED: Groups = {
    tuple(Kind("add", d) for d in (2, 3, 4, 5)): 4.0,
    tuple(Kind("sort", d) for d in (4, 8)): 0.8,
    tuple(Kind("sort", d) for d in (12, 16, 20, 24)): 1.5,
    tuple(Kind("reverse", d) for d in (3, 5, 7, 9, 11, 13)): 1.2,
    tuple(Kind("chain", d) for d in (2, 3, 4)): 2.0,
    tuple(Kind("count", d) for d in (1, 3, 7)): 1.5,
    SPECIALIST_KINDS: 0.4,
}
HARD: Groups = {
    tuple(Kind("add", d) for d in (2, 3)): 0.6,
    tuple(Kind("add", d) for d in (4, 5, 6)): 2.5,
    tuple(Kind("sort", d) for d in (4, 8)): 0.4,
    tuple(Kind("sort", d) for d in (12, 16, 20, 24)): 1.5,
    tuple(Kind("reverse", d) for d in (3, 5, 7)): 0.5,
    tuple(Kind("reverse", d) for d in (9, 11, 13, 15)): 2.0,
    tuple(Kind("chain", d) for d in (2, 3)): 0.6,
    tuple(Kind("chain", d) for d in (4, 5)): 2.5,
    tuple(Kind("count", d) for d in (1, 3, 7)): 2.5,
    SPECIALIST_KINDS: 0.3,
}
POLISH: Groups = {
    tuple(Kind("add", d) for d in (2, 3, 4)): 0.8,
    tuple(Kind("sort", d) for d in (4, 8)): 0.4,
    tuple(Kind("sort", d) for d in (12, 16, 20, 24)): 2.0,
    tuple(Kind("reverse", d) for d in (3, 5, 7)): 0.3,
    tuple(Kind("reverse", d) for d in (9, 11, 13, 15)): 4.0,
    tuple(Kind("chain", d) for d in (2, 3, 4)): 1.5,
    tuple(Kind("count", d) for d in (1, 3, 7)): 0.5,
    SPECIALIST_KINDS: 0.2,
}
SPECIALIST: Groups = {SPECIALIST_KINDS: 1.0}


class Course(NamedTuple):
    """One run over generated tasks. ``peak`` is the learning rate after the warm-up."""

    steps: int
    peak: float
    groups: Groups
    seed: int = 20


COURSES: dict[str, tuple[Course, ...]] = {
    "demo-small": (Course(3500, 5e-3, FOCUSED),),
    "demo-medium": (Course(3200, 4e-3, BROAD, 21), Course(2000, 4e-3, FOCUSED, 22)),
    "demo-large": (Course(1000, 3e-3, HARD, 31), Course(400, 2e-3, POLISH, 33)),
    "demo-multiply": (Course(3000, 5e-3, SPECIALIST),),
}
"""One course after the other, each with optimizers and a learning rate that begin anew."""

GROWN_FROM = {"demo-large": "demo-medium"}
"""Models that begin as a smaller one, widened and deepened (see grow.py)."""
