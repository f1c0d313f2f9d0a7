"""Fit the threshold on the real engine and write ``ladder.toml`` and the model card.

``python calibrate.py`` runs a gateway with the exported files, asks calibration items for the
fit, and asks each model test items for the card. No test item has any say in the fit.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
from collections.abc import Sequence

import aiohttp
from card import model_card

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.demonstration.ladder import LADDER_FILE, MODELS_FOLDER
from ecluse.demonstration.tasks import KINDS, Task, draw, grade
from ecluse.evaluation.demonstration import ANSWER_TOKENS, Gateway, held_out_tasks, measure
from ecluse.evaluation.private_gateway import private_gateway
from ecluse.evaluation.thresholds import Fit, Judged, fit_threshold

SMALL, LARGE = "demo-small", "demo-large"
KEEP = 0.99


def write_ladder(threshold: float, fit: Fit | None) -> None:
    """The facts the program reads; the sizes and hashes are those of the files."""
    entries = []
    for name in (SMALL, LARGE):
        file = MODELS_FOLDER / f"{name}.gguf"
        facts = read_facts(file)
        lines = [
            "[[model]]",
            f'name = "{name}"',
            f'file = "{file.name}"',
            f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"',
            f"parameters = {facts.parameters}",
            f"context_tokens = {facts.context_tokens}",
        ]
        if name == SMALL:
            if fit is not None:
                lines.append(
                    f"# fitted on {fit.items} calibration items: accuracy {fit.accuracy:.4f} "
                    f"(large alone {fit.large_accuracy:.4f}), rises {fit.rise_share:.4f}"
                )
            lines.append(f"accept_least_logprob = {threshold:.6f}")
        entries.append("\n".join(lines))
    heading = "# Written by recipes/demonstration_ladder/calibrate.py.\n\n"
    LADDER_FILE.write_text(heading + "\n\n".join(entries) + "\n", "utf-8")


async def judged(gateway: Gateway, tasks: Sequence[Task]) -> list[Judged]:
    """Ask both models everything, the small one with its log-probabilities."""
    items = []
    for position, task in enumerate(tasks):
        small_right, least = await _ask_with_evidence(gateway, task)
        large_text, _ = await gateway.ask(LARGE, task.prompt)
        items.append(Judged(least, small_right, grade(task, large_text)))
        if position % 200 == 199:
            print(f"calibration: {position + 1} of {len(tasks)}", flush=True)
    return items


async def _ask_with_evidence(gateway: Gateway, task: Task) -> tuple[bool, float]:
    answer = await gateway.post(
        {
            "model": SMALL,
            "messages": [{"role": "user", "content": task.prompt}],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
            "logprobs": True,
            "top_logprobs": 1,
        }
    )
    choice = answer["choices"][0]
    least = min(token["logprob"] for token in choice["logprobs"]["content"])
    return grade(task, choice["message"]["content"] or ""), least


async def calibrate(items: int, test_items: int, seed: int) -> str:
    """Fit, write the ladder, measure on the test split, and return the card."""
    write_ladder(0.0, None)
    async with aiohttp.ClientSession() as session:
        async with private_gateway(session) as gateway:
            tasks = draw("calibration", KINDS, items, random.Random(seed))
            fit = fit_threshold(await judged(gateway, tasks), KEEP)
        write_ladder(fit.threshold - 1e-6, fit)
        async with private_gateway(session) as gateway:
            held_out = held_out_tasks(test_items, seed)
            results = [
                await measure(gateway, model, held_out, lambda: None)
                for model in (SMALL, LARGE, "demo")
            ]
    return model_card(results, fit, seed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2100)
    parser.add_argument("--test-items", type=int, default=1400)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    card = asyncio.run(calibrate(options.items, options.test_items, options.seed))
    (MODELS_FOLDER / "MODEL_CARD.md").write_text(card, "utf-8")
    print(card)


if __name__ == "__main__":
    main()
