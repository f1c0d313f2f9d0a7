"""Train one model of the ladder: ``python train.py demo-small``. Deterministic by seed on a CPU."""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
from model import ASSISTANT, END, SHAPES, Llama, encode_prompt
from torch.nn import functional

from ecluse.demonstration.tasks import KINDS, Kind, Task, draw, grade, make, split_of

BATCH = 128
PEAK_LEARNING_RATE = 4e-3
WARM_UP_SHARE = 0.03
EASY_AND_HARD = (
    tuple(k for k in KINDS if k.family == "add"),
    tuple(k for k in KINDS if k.family == "sort" and k.difficulty <= 8),
    tuple(k for k in KINDS if k.family == "sort" and k.difficulty > 8),
)
GROUP_WEIGHTS = (5, 1, 2)


def batch_of(kinds: tuple[Kind, ...], rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and targets, both (BATCH, tokens); targets are -100 where nothing is learned."""
    rows: list[list[int]] = []
    starts: list[int] = []
    hardest_more_often = [k.difficulty for k in kinds]
    while len(rows) < BATCH:
        task = make(rng.choices(kinds, hardest_more_often)[0], rng)
        if split_of(task.prompt) != "train":
            continue
        prompt = encode_prompt(task.prompt)
        rows.append([*prompt, *task.answer.encode(), END])
        starts.append(len(prompt))
    length = max(map(len, rows))
    tokens = torch.full((BATCH, length), END)
    targets = torch.full((BATCH, length), -100)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        tokens[i, : len(row)] = torch.tensor(row)
        targets[i, start - 1 : len(row) - 1] = torch.tensor(row[start:])
    return tokens, targets


def learning_rate(progress: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth; ``progress`` runs from 0 to 1."""
    if progress < WARM_UP_SHARE:
        return PEAK_LEARNING_RATE * progress / WARM_UP_SHARE
    return PEAK_LEARNING_RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


@torch.no_grad()
def answer(model: Llama, task: Task) -> str:
    """Greedy answer of one task."""
    tokens = encode_prompt(task.prompt)
    start = len(tokens)
    while len(tokens) < start + 48:
        best = int(model(torch.tensor([tokens]))[0, -1].argmax())
        if best >= ASSISTANT:
            break
        tokens.append(best)
    return bytes(t for t in tokens[start:] if t < 256).decode(errors="replace")


def accuracy(model: Llama, count: int = 140) -> dict[str, float]:
    """Share of right answers by kind on calibration items; the test split is left alone."""
    tasks = draw("calibration", KINDS, count, random.Random(5))
    right: dict[str, list[bool]] = {}
    for task in tasks:
        right.setdefault(f"{task.kind.family} {task.kind.difficulty}", []).append(
            grade(task, answer(model, task))
        )
    return {kind: sum(marks) / len(marks) for kind, marks in right.items()}


def train(name: str, steps: int, seed: int) -> Llama:
    """Train on answer tokens only."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = random.Random(seed)
    model = Llama(SHAPES[name])
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    print(f"{name}: {model.parameter_count()} parameters, {steps} steps of {BATCH}", flush=True)
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / steps)
        tokens, targets = batch_of(rng.choices(EASY_AND_HARD, GROUP_WEIGHTS)[0], rng)
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 200 == 199:
            spent = time.monotonic() - began
            left = spent / (step + 1) * (steps - step - 1)
            print(
                f"step {step + 1}  loss {loss.item():.4f}  {spent:.0f} s, {left:.0f} s left",
                flush=True,
            )
        if step % 2000 == 1999:
            print(accuracy(model), flush=True)
    return model


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build"))
    options = parser.parse_args()
    model = train(options.name, options.steps, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), options.out / f"{options.name}.pt")
    print(accuracy(model, 700))


if __name__ == "__main__":
    main()
