"""Fit the ladder's rules on the real engine, and write ``ladder.toml`` and the model card.

``python calibrate.py`` runs a gateway with the exported files, asks every generalist the same
calibration items, fits thresholds and early commits, and then measures on test items for the card.
No test item has any say in the fit. ``--survey`` only prints right answers by kind on calibration
items: what the halves of the mix were chosen from.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from card import Agreement, model_card
from survey import CHECKED, Survey, survey

from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.demonstration import ladder
from ecluse.demonstration.ladder import LADDER_FILE, MODELS_FOLDER
from ecluse.demonstration.tasks import MIX, Task, draw, grade
from ecluse.evaluation.client import Gateway
from ecluse.evaluation.demonstration import CASCADE_ROUTE, dealt, held_out_tasks, measure, summed_up
from ecluse.evaluation.private_gateway import private_gateway
from ecluse.evaluation.thresholds import Answered, Fit, Price, Rule, fit

GENERALISTS = ("demo-small", "demo-medium", "demo-large")
SPECIALIST, SPECIALITY = "demo-multiply", "multiply"
WITHOUT_FLASH_ATTENTION: tuple[str, ...] = ()
"""For long answers the narrowest models would do better without, for short ones they do not."""
KEEP, LOSS = 0.996, 0.001
GUARD = 1e-6
"""So much below the fitted value: what was accepted in the fit is not to fail by rounding."""
AGREEMENT = Path("build/agreement.json")


def write_ladder(fitted: Fit | None) -> None:
    """The facts the program reads; the sizes and hashes are those of the files."""
    rules = fitted.rules if fitted else [Rule(0.0)] * (len(GENERALISTS) - 1)
    heading = "# Written by recipes/demonstration_ladder/calibrate.py."
    if fitted is not None:
        asked = ", ".join(f"{share:.3f}" for share in fitted.asked)
        heading += (
            f"\n# The rules were fitted on {fitted.items} calibration items: accuracy "
            f"{fitted.accuracy:.4f} (largest alone\n# {fitted.last_accuracy:.4f}) at "
            f"{fitted.cost_share:.3f} of its compute; the rungs were asked {asked} of them."
        )
    entries = [heading]
    for name, rule in zip(GENERALISTS, [*rules, None], strict=True):
        entries.append("\n".join([*_facts(name), *_rule(rule)]))
    entries.append("\n".join([*_facts(SPECIALIST), f'specialist_in = "{SPECIALITY}"']))
    LADDER_FILE.write_text("\n\n".join(entries) + "\n", "utf-8")
    for cached in (ladder.models, ladder.rungs, ladder.specialist):
        cached.cache_clear()


def _facts(name: str) -> list[str]:
    file = MODELS_FOLDER / f"{name}.gguf"
    facts = read_facts(file)
    return [
        "[[model]]",
        f'name = "{name}"',
        f'file = "{file.name}"',
        f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"',
        f"parameters = {facts.parameters}",
        f"context_tokens = {facts.context_tokens}",
        *(["flash_attention = false"] if name in WITHOUT_FLASH_ATTENTION else []),
    ]


def _rule(rule: Rule | None) -> list[str]:
    if rule is None:
        return []
    lines = [f"accept_least_logprob = {rule.least_logprob - GUARD:.6f}"]
    if rule.commit_after_tokens is not None:
        lines.append(f"commit_after_tokens = {rule.commit_after_tokens}")
    return lines


async def ask_all(gateway: Gateway, tasks: Sequence[Task]) -> list[list[Answered]]:
    """Every generalist's answer to every task, streamed as the gateway would see it."""
    items: list[list[Answered]] = [[] for _ in tasks]
    for name in GENERALISTS:
        for item, task in zip(items, tasks, strict=True):
            answer = await gateway.ask(name, task.prompt, logprobs=True)
            item.append(
                Answered(
                    grade(task, answer.text),
                    answer.logprobs,
                    answer.prompt_tokens,
                    answer.completion_tokens,
                )
            )
        print(f"calibration: {name} answered {len(tasks)} items", flush=True)
    return items


def fit_on(items: Sequence[Sequence[Answered]]) -> Fit:
    """The rules that keep ``KEEP`` of the largest model's accuracy with the least compute."""
    sizes = [read_facts(MODELS_FOLDER / f"{name}.gguf").parameters for name in GENERALISTS]
    return fit(items, [Price(2.0 * size) for size in sizes], KEEP, LOSS)


async def calibrate(items: int, test_items: int, seed: int, agreement: Agreement) -> str:
    """Fit, write the ladder, measure on the test split, and return the card."""
    write_ladder(None)
    async with aiohttp.ClientSession() as session:
        async with private_gateway(session) as gateway:
            tasks = draw("calibration", MIX, items, random.Random(seed))
            fitted = fit_on(await ask_all(gateway, tasks))
        print(fitted, flush=True)
        write_ladder(fitted)
        async with private_gateway(session) as gateway:
            blocks = dealt(held_out_tasks(test_items, seed))
            measured = [
                await measure(gateway, model, blocks, lambda: None)
                for model in (*GENERALISTS, CASCADE_ROUTE)
            ]
            by_kind = await survey(gateway, [*GENERALISTS, SPECIALIST], "test", CHECKED, seed)
    results = [summed_up(strategy, seed) for strategy in measured]
    return model_card(results, by_kind, fitted, agreement, seed)


async def print_survey(count: int, seed: int) -> None:
    """Right answers by kind on calibration items."""
    write_ladder(None)
    async with aiohttp.ClientSession() as session, private_gateway(session) as gateway:
        found: Survey = await survey(
            gateway, [*GENERALISTS, SPECIALIST], "calibration", count, seed
        )
    for kind, shares in found.items():
        print(f"{kind:<12}", "  ".join(f"{name} {share:.3f}" for name, share in shares.items()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--test-items", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--survey", action="store_true")
    options = parser.parse_args()
    if options.survey:
        asyncio.run(print_survey(CHECKED, options.seed))
        return
    agreement = json.loads(AGREEMENT.read_text("utf-8"))
    card = asyncio.run(calibrate(options.items, options.test_items, options.seed, agreement))
    (MODELS_FOLDER / "MODEL_CARD.md").write_text(card, "utf-8")
    print(card)


if __name__ == "__main__":
    main()
