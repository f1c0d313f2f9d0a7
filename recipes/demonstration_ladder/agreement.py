"""Does the engine with a file do what PyTorch does with the weights it was made from?

``python agreement.py`` compares tokens and greedy answers on calibration tasks for every model, and
writes ``build/agreement.json`` for the card. An answer agrees when each of its tokens, and the end,
is the one that PyTorch finds most likely after those before it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import torch
from model import CONTEXT_TOKENS, SHAPES, Llama
from tokenizers import Tokenizer
from vocabulary import END, encode_prompt, learn

from ecluse.adapters.upstreams.llama_cpp.engine import Engine, EngineSettings
from ecluse.demonstration.tasks import MIX, SPECIALIST_KINDS, Task, draw

MODELS_FOLDER = Path(__file__).parents[2] / "src" / "ecluse" / "demonstration" / "models"
SPECIALIST = "demo-multiply"


class Child:
    """A running engine."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def post(self, path: str, body: Mapping[str, object]) -> Any:
        """The JSON that it answers."""
        async with self._session.post(f"{self._url}{path}", json=body) as response:
            response.raise_for_status()
            return await response.json()

    async def tokens(self, text: str) -> list[int]:
        """Its tokens of a text."""
        told = await self.post("/tokenize", {"content": text})
        return list(told["tokens"])

    async def answer(self, prompt: str) -> tuple[str, int, bool]:
        """Its greedy answer, the prompt's tokens, and whether the answer came to its end."""
        told = await self.post(
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": CONTEXT_TOKENS // 2 + CONTEXT_TOKENS // 4,
            },
        )
        choice = told["choices"][0]
        text = choice["message"]["content"] or ""
        return text, told["usage"]["prompt_tokens"], choice["finish_reason"] == "stop"


@torch.no_grad()
def is_greedy(model: Llama, prompt: Sequence[int], answer: Sequence[int]) -> bool:
    """Whether PyTorch finds each token of an answer the most likely one."""
    row = torch.tensor([[*prompt, *answer]])
    best = model.logits(model(row[:, :-1])[0, len(prompt) - 1 :]).argmax(-1)
    return bool(best.tolist() == list(answer))


async def compare(
    name: str, weights: Path, tokenizer: Tokenizer, tasks: Sequence[Task]
) -> dict[str, int]:
    """How many tasks agree in their tokens, and in their answers."""
    model = Llama(SHAPES[name])
    model.load_state_dict(torch.load(weights / f"{name}.pt", weights_only=True))
    file = MODELS_FOLDER / f"{name}.gguf"
    engine = Engine(EngineSettings(file, name, CONTEXT_TOKENS, parallel=1, threads=1))
    same_tokens = same_answers = 0
    try:
        address = await engine.address()
        headers = {"authorization": f"Bearer {address.key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            child = Child(session, address.url)
            for task in tasks:
                prompt = encode_prompt(tokenizer, task.prompt)
                text, prompt_tokens, ended = await child.answer(task.prompt)
                same_tokens += (
                    prompt_tokens == len(prompt)
                    and await child.tokens(task.prompt) == tokenizer.encode(task.prompt).ids
                    and await child.tokens(task.answer) == tokenizer.encode(task.answer).ids
                )
                answer = [*tokenizer.encode(text).ids, *([END] if ended else [])]
                same_answers += bool(answer) and is_greedy(model, prompt, answer)
    finally:
        await engine.stop()
    return {"tasks": len(tasks), "same_tokens": same_tokens, "same_answers": same_answers}


async def compare_all(names: Sequence[str], weights: Path, count: int) -> dict[str, Any]:
    """Every model on tasks of its own."""
    torch.set_num_threads(1)
    tokenizer = learn()
    found = {}
    for name in names:
        kinds = SPECIALIST_KINDS if name == SPECIALIST else MIX
        tasks = draw("calibration", kinds, count, random.Random(9))
        found[name] = await compare(name, weights, tokenizer, tasks)
        print(name, found[name], flush=True)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SHAPES))
    parser.add_argument("--weights", type=Path, default=Path("build"))
    parser.add_argument("--tasks", type=int, default=400)
    options = parser.parse_args()
    found = asyncio.run(compare_all(options.names, options.weights, options.tasks))
    Path("build").mkdir(exist_ok=True)
    Path("build/agreement.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
