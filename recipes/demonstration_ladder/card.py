"""The text of the model card."""

from __future__ import annotations

from collections.abc import Sequence

from ecluse.demonstration.ladder import rungs
from ecluse.evaluation.demonstration import StrategyResult
from ecluse.evaluation.thresholds import Fit

INTRODUCTION = """\
# The demonstration's models

Two tiny Llama-architecture models, trained from scratch for Ecluse. They show how a cascade works
on real models that fit into a Python package. **They are a demonstration and nothing else**: they
add two numbers of up to four digits and sort up to sixteen digits, and answer nonsense to
everything else.

- Licence: Apache-2.0, like Ecluse. Made by `recipes/demonstration_ladder/`; no outside data.
- Data: generated tasks, `add 47 38` and `sort 5 3 9 1`. The SHA-256 of a prompt decides its split:
  80 % train, 10 % calibration (the threshold), 10 % test. An item of one split is never in another.
- Tokenizer: bytes and four control tokens. Weights: f16 in GGUF. Context: 256 tokens.
- Training: AdamW, loss on the answer's tokens only, seed 20, on one CPU thread: some ten minutes
  for the small model and twenty for the large one.
"""


def model_card(results: Sequence[StrategyResult], fit: Fit, seed: int) -> str:
    """Sizes, accuracy by task and difficulty on the test split, and the fitted threshold."""
    parts = [INTRODUCTION, _sizes(), _accuracy(results, seed), _cascade(results, fit)]
    return "\n".join(parts)


def _sizes() -> str:
    rows = ["| model | parameters | file |", "|---|---|---|"]
    rows += [f"| {r.name} | {r.parameters:,} | {r.path.stat().st_size:,} bytes |" for r in rungs()]
    return "\n".join(rows) + "\n"


def _accuracy(results: Sequence[StrategyResult], seed: int) -> str:
    lines = [
        f"## Right answers on {results[0].tasks} test items (seed {seed}), by the real engine",
        "",
        "| task | " + " | ".join(result.name for result in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    for kind in results[0].by_kind:
        shares = " | ".join(f"{result.by_kind[kind]:.3f}" for result in results)
        lines.append(f"| {kind} | {shares} |")
    totals = " | ".join(
        f"{r.accuracy:.3f} ({r.accuracy_low:.3f} to {r.accuracy_high:.3f})" for r in results
    )
    lines.append(f"| **all** (95 % interval) | {totals} |")
    cpu = " | ".join(f"{result.cpu_seconds:.2f}" for result in results)
    lines.append(f"| engine CPU-seconds | {cpu} |")
    return "\n".join(lines) + "\n"


def _cascade(results: Sequence[StrategyResult], fit: Fit) -> str:
    cascade = results[-1]
    kept = cascade.answered_by.get(results[0].name, 0) / cascade.tasks
    return f"""\
## The cascade

`auto` above is the route `demo`: the small model answers first; if its least certain token has a
log-probability below {fit.threshold:.4f}, the large model is asked. The threshold rises least often
while keeping 99 % of the large model's accuracy on {fit.items} calibration items; there it rose for
{fit.rise_share:.1%}. On the test items {kept:.1%} of the answers came from the small model alone.
Evidence are all tokens in `choices[].logprobs.content`, the end-of-turn token included where the
engine lists it.
"""
