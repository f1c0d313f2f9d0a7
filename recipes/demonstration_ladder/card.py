"""The text of the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from courses import COURSES, GROWN_FROM
from survey import CHECKED, CHECKED_COUNTS, Survey

from ecluse.demonstration.ladder import models, rungs
from ecluse.demonstration.tasks import EASY, HARD
from ecluse.evaluation.demonstration import StrategyResult
from ecluse.evaluation.thresholds import Fit

Agreement = Mapping[str, Mapping[str, int]]

INTRODUCTION = """\
# The demonstration's models

Tiny Llama-architecture models, trained from scratch for Ecluse: three generalists, each larger than
the one before, and a specialist for a single task. They show how a cascade works on real models
that fit into a Python package. **They are a demonstration and nothing else**: they add, sort,
reverse, add and then sort, count in words and multiply by one digit, in exactly the words below,
and answer nonsense to everything else.

| task | question | answer |
|---|---|---|
| add (digits) | `add 47 38` | `85` |
| sort (items) | `sort 5 3 9 1` | `1 3 5 9` |
| reverse (letters) | `reverse talon` | `nolat` |
| chain (digits) | `add 47 38 then sort` | `58` |
| count (step) | `count 98 to 157 by 1` | `ninety-eight, ninety-nine, one hundred, …`, 60 numbers |
| multiply (digits) | `multiply 47 8` | `376` |

- Licence: Apache-2.0, like Ecluse. Made by `recipes/demonstration_ladder/`; no outside data.
- Data: generated tasks. The SHA-256 of a prompt decides its split: 80 % train, 10 % calibration
  (for the rules, and for which kinds are easy and hard), 10 % test. No item is in two splits.
- Tokenizer: bytes and 60 merges learned from the tasks' words, so a token may end within a word;
  four control tokens. An answer to `count` has 306 to 538 tokens. Context: 768 tokens.
- Weights: matrices in q8_0 (those of demo-small in f16), norms in f32, GGUF.
- Training: Muon for the matrices, AdamW for the rest, loss on the answer's tokens only, batches of
  4,096 tokens, on one CPU thread each. The script states every seed; the same machine gives the
  same weights.
"""


def model_card(
    results: Sequence[StrategyResult],
    by_kind: Survey,
    fitted: Fit,
    agreement: Agreement,
    seed: int,
) -> str:
    """Sizes, accuracy by task and difficulty, the cascade and its rules."""
    parts = [
        INTRODUCTION,
        _sizes(),
        _agreement(agreement),
        _accuracy(by_kind, seed),
        _mix(results, seed),
        _cascade(results, fitted),
    ]
    return "\n".join(parts)


def _sizes() -> str:
    rows = ["| model | parameters | file | trained |", "|---|---|---|---|"]
    rows += [
        f"| {model.name} | {model.parameters:,} | {model.path.stat().st_size:,} bytes "
        f"| {_trained(model.name)} |"
        for model in models()
    ]
    total = sum(model.path.stat().st_size for model in models())
    return "\n".join(rows) + f"\n\nTogether {total:,} bytes.\n"


def _trained(name: str) -> str:
    begins = f"grown from {GROWN_FROM[name]}, then " if name in GROWN_FROM else ""
    return begins + ", then ".join(
        f"{course.steps:,} steps, peak {course.peak}, seed {course.seed}"
        for course in COURSES[name]
    )


def _agreement(agreement: Agreement) -> str:
    lines = [
        "## The engine and PyTorch",
        "",
        "Greedy answers of the engine with these files, against PyTorch with the f32 weights, on",
        "calibration tasks. An answer agrees when each of its tokens is PyTorch's most likely one.",
        "",
        "| model | same tokens of the prompt and the answer | same greedy answer |",
        "|---|---|---|",
    ]
    for name, counts in agreement.items():
        tasks = counts["tasks"]
        lines.append(
            f"| {name} | {counts['same_tokens']} of {tasks} | {counts['same_answers']} of {tasks} |"
        )
    return "\n".join(lines) + "\n"


def _accuracy(by_kind: Survey, seed: int) -> str:
    names = [model.name for model in models()]
    lines = [
        "## Right answers by task and difficulty",
        "",
        f"On {CHECKED} test items of each kind ({CHECKED_COUNTS} of each count), seed {seed}, by",
        "the real engine. The mix of `ecluse demo` is one half easy kinds, one half hard ones.",
        "",
        "| task | half | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    halves = {str(kind): "easy" for kind in EASY} | {str(kind): "hard" for kind in HARD}
    for kind, shares in by_kind.items():
        cells = " | ".join(f"{shares[name]:.2f}" for name in names)
        lines.append(f"| {kind} | {halves.get(kind, '')} | {cells} |")
    return "\n".join(lines) + "\n"


def _mix(results: Sequence[StrategyResult], seed: int) -> str:
    lines = [
        f"## The mix: {results[0].tasks} test items (seed {seed}), over HTTP",
        "",
        "`auto` is the route `demo`. Ranges hold 95 %.",
        "",
        "| | " + " | ".join(result.name for result in results) + " |",
        "|---|" + "---|" * len(results),
        _row("right answers", [_with_range(r, "accuracy", 1, 3) for r in results]),
        _row("of the easy half", [f"{result.by_half['easy']:.3f}" for result in results]),
        _row("of the hard half", [f"{result.by_half['hard']:.3f}" for result in results]),
        _row("calls", [str(result.calls) for result in results]),
        _row("tokens", [f"{r.prompt_tokens + r.completion_tokens:,}" for r in results]),
        _row("compute, GFLOP", [_with_range(r, "compute_flop", 1e9, 1) for r in results]),
        _row("engine CPU-seconds", [_with_range(r, "cpu_seconds", 1, 1) for r in results]),
    ]
    return "\n".join(lines) + "\n"


def _with_range(result: StrategyResult, name: str, unit: float, digits: int) -> str:
    low, high = (bound / unit for bound in result.intervals[name])
    value = getattr(result, name) / unit
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _row(title: str, cells: Sequence[str]) -> str:
    return f"| {title} | " + " | ".join(cells) + " |"


def _cascade(results: Sequence[StrategyResult], fitted: Fit) -> str:
    largest, cascade = results[-2], results[-1]
    lines = [
        "## The cascade",
        "",
        "The rungs are asked in order. At the first token whose log-probability is below a rung's",
        "threshold its answer is given up, and the next rung is asked; once as many tokens as",
        "stated were certain enough, a stream goes out without waiting for the rest.",
        "",
        "| rung | threshold | commits after | asked in the fit |",
        "|---|---|---|---|",
    ]
    for rung, asked in zip(rungs(), fitted.asked, strict=True):
        threshold = rung.accept_least_logprob
        shown = "none: the last word" if threshold is None else f"{threshold:.4f}"
        after = rung.commit_after_tokens
        commits = f"{after} tokens" if after else ("" if threshold is None else "its end")
        lines.append(f"| {rung.name} | {shown} | {commits} | {asked:.1%} |")
    lines += [
        "",
        f"Fitted on {fitted.items} calibration items: the least compute that keeps 99.6 % of",
        f"{largest.name}'s right answers there, and early commits that cost at most 0.2 points.",
        f"The cascade was right in {fitted.accuracy:.4f} of them, {largest.name} in",
        f"{fitted.last_accuracy:.4f}; it took {fitted.cost_share:.1%} of the compute.",
        "",
        f"On the test items above it keeps {cascade.accuracy / largest.accuracy:.1%} of",
        f"{largest.name}'s right answers, for {cascade.cpu_seconds / largest.cpu_seconds:.1%} of",
        f"its engine CPU-seconds and {cascade.compute_flop / largest.compute_flop:.1%} of its",
        "compute.",
    ]
    return "\n".join(lines) + "\n"
