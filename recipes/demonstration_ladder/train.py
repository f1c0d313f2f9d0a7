"""Train one model of the ladder: ``python train.py demo-small``. Deterministic by seed on a CPU.

One thread each. The allocator's defaults give memory back after every step and ask for it again:
``MALLOC_MMAP_THRESHOLD_=2147483648 MALLOC_TRIM_THRESHOLD_=17179869184`` saves 30 % of the time.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from courses import COURSES, GROWN_FROM, Course, Groups
from grow import add_noise, grown
from model import SHAPES, Llama
from muon import Muon
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from vocabulary import END, encode_prompt, learn

from ecluse.demonstration.tasks import Kind, draw, make, split_of

TOKENS_PER_BATCH = 4096
IGNORED = -100
WARM_UP_SHARE = 0.02
DECAY_SHARE = 0.6
REPORT_EVERY = 100
SAVE_EVERY = 500
CHECKED_PER_KIND = 40


class Batches:
    """Draws batches of one group of kinds each, so that their lengths are alike."""

    def __init__(self, groups: Groups, tokenizer: Tokenizer, seed: int) -> None:
        self._groups = list(groups)
        self._weights = list(groups.values())
        self._rng = random.Random(seed)
        self._tokenizer = tokenizer

    def next(self) -> tuple[Tensor, Tensor]:
        """Token ids and targets, both (batch, tokens); targets are IGNORED outside of answers."""
        (kinds,) = self._rng.choices(self._groups, self._weights)
        rows: list[tuple[list[int], int]] = []
        length = 0
        while (len(rows) + 1) * max(length, 1) <= TOKENS_PER_BATCH:
            row = self._row(kinds)
            length = max(length, len(row[0]))
            rows.append(row)
        tokens = torch.full((len(rows), length), END)
        targets = torch.full((len(rows), length), IGNORED)
        for i, (row, start) in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
            targets[i, start - 1 : len(row) - 1] = torch.tensor(row[start:])
        return tokens, targets

    def _row(self, kinds: tuple[Kind, ...]) -> tuple[list[int], int]:
        """One task's tokens, and where its answer starts; the harder kinds come more often."""
        weights = [kind.difficulty for kind in kinds] if kinds[0].family != "count" else None
        while True:
            task = make(self._rng.choices(kinds, weights)[0], self._rng)
            if split_of(task.prompt) == "train":
                break
        prompt = encode_prompt(self._tokenizer, task.prompt)
        return [*prompt, *self._tokenizer.encode(task.answer).ids, END], len(prompt)


def learning_rate(progress: float) -> float:
    """Share of the peak: a linear warm-up, flat, then down to nothing over the last 60 %."""
    if progress < WARM_UP_SHARE:
        return progress / WARM_UP_SHARE
    return min(1.0, (1 - progress) / DECAY_SHARE + 0.01)


@torch.no_grad()
def accuracy(model: Llama, tokenizer: Tokenizer, kinds: Sequence[Kind]) -> dict[str, float]:
    """Share of answers whose every token is the greedy one, by kind, on calibration items."""
    shares = {}
    for kind in kinds:
        count = CHECKED_PER_KIND // 4 if kind.family == "count" else CHECKED_PER_KIND
        right = 0
        for task in draw("calibration", [kind], count, random.Random(5)):
            prompt = encode_prompt(tokenizer, task.prompt)
            row = [*prompt, *tokenizer.encode(task.answer).ids, END]
            best = model.logits(model(torch.tensor([row]))[0, len(prompt) - 1 : -1]).argmax(-1)
            right += best.tolist() == row[len(prompt) :]
        shares[str(kind)] = round(right / count, 3)
    return shares


def optimizers_of(model: Llama, peak: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embd" not in name]
    others = [p for name, p in named if p.dim() != 2 or "embd" in name]
    return [
        Muon(matrices, lr=peak, weight_decay=0.01),
        torch.optim.AdamW(others, lr=peak, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def step(model: Llama, optimizers: Sequence[torch.optim.Optimizer], batches: Batches) -> float:
    """One step on answer tokens only; its loss."""
    tokens, targets = batches.next()
    kept = targets != IGNORED
    loss = functional.cross_entropy(model.logits(model(tokens)[kept]), targets[kept])
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


def take(course: Course, model: Llama, out: Path) -> None:
    """Train a model as a course says; ``out`` holds the latest weights."""
    tokenizer = learn()
    batches = Batches(course.groups, tokenizer, course.seed)
    kinds = [kind for group in course.groups for kind in group]
    optimizers = optimizers_of(model, course.peak)
    began = time.process_time()
    for done in range(1, course.steps + 1):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = course.peak * learning_rate((done - 1) / course.steps)
        loss = step(model, optimizers, batches)
        if done % REPORT_EVERY == 0:
            spent = time.process_time() - began
            left = spent / done * (course.steps - done)
            print(f"step {done}  loss {loss:.4f}  {spent:.0f} s, {left:.0f} s left", flush=True)
        if done % SAVE_EVERY == 0 or done == course.steps:
            torch.save(model.state_dict(), out)
            print(accuracy(model, tokenizer, kinds), flush=True)


def new_model(name: str, seed: int, folder: Path) -> Llama:
    """A model to be trained: from nothing, or grown from a smaller one in ``folder``."""
    torch.manual_seed(seed)
    model = Llama(SHAPES[name])
    if name in GROWN_FROM:
        smaller = Llama(SHAPES[GROWN_FROM[name]])
        weights = torch.load(folder / f"{GROWN_FROM[name]}.pt", weights_only=True)
        smaller.load_state_dict(weights)
        grown(smaller, model)
        add_noise(model)
    return model


def train(name: str, courses: Sequence[Course], folder: Path) -> None:
    """Train a model as its courses say, one after the other."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = new_model(name, courses[0].seed, folder)
    print(f"{name}: {model.parameter_count()} parameters", flush=True)
    for course in courses:
        take(course, model, folder / f"{name}.pt")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--steps", type=int, help="of each course; fewer, to try something out")
    parser.add_argument("--out", type=Path, default=Path("build"))
    options = parser.parse_args()
    courses = COURSES[options.name]
    if options.steps is not None:
        courses = tuple(course._replace(steps=options.steps) for course in courses)
    options.out.mkdir(parents=True, exist_ok=True)
    train(options.name, courses, options.out)


if __name__ == "__main__":
    main()
