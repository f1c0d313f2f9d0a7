"""The ladder's tokenizer: bytes, and merges learned from the tasks' own words.

So a token may end within a word, as in any real vocabulary: what is streamed, held, cut and
continued has boundaries that are not those of words.
"""

from __future__ import annotations

import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ecluse.demonstration.tasks import Kind, make

BYTES = 256
MERGES = 60
CONTROL = ("<|bos|>", "<|user|>", "<|assistant|>", "<|end|>")
BOS, USER, ASSISTANT, END = range(BYTES + MERGES, BYTES + MERGES + len(CONTROL))
VOCABULARY = BYTES + MERGES + len(CONTROL)
SEED = 1


def corpus() -> list[str]:
    """Texts to learn merges from. Sums are left out: the digits of a number must stay single."""
    rng = random.Random(SEED)
    kinds = [*[Kind("sort", 16)] * 40, Kind("reverse", 8), Kind("count", 1), Kind("count", 7)]
    texts = []
    for _ in range(100):
        for kind in kinds:
            task = make(kind, rng)
            texts.append(task.answer)
            if kind.family != "count":
                texts.append(task.prompt)
    texts += ["add 1 then sort", "multiply 1", "count 1 to 1 by 1"] * 200
    return texts


def learn() -> Tokenizer:
    """Learn the merges; deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BYTES + MERGES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """What the chat template makes of one user message."""
    return [BOS, USER, *tokenizer.encode(prompt).ids, ASSISTANT]
