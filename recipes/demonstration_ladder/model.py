"""A small Llama in PyTorch, laid out as llama.cpp's "llama" architecture expects it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from vocabulary import VOCABULARY

CONTEXT_TOKENS = 768
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. ``width`` is divided among ``heads``."""

    name: str
    width: int
    hidden: int
    layers: int
    heads: int


SHAPES = {
    "demo-small": Shape("demo-small", width=64, hidden=128, layers=3, heads=4),
    "demo-medium": Shape("demo-medium", width=128, hidden=320, layers=5, heads=4),
    "demo-large": Shape("demo-large", width=256, hidden=768, layers=6, heads=8),
    "demo-multiply": Shape("demo-multiply", width=96, hidden=256, layers=4, heads=4),
}


def rope_tables(head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, shape (CONTEXT_TOKENS, head_width / 2)."""
    frequencies = ROPE_BASE ** (-torch.arange(0, head_width, 2) / head_width)
    angles = torch.arange(CONTEXT_TOKENS)[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary embedding of interleaved pairs; x has shape (batch, heads, tokens, head width)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), dim=-1)
    return turned.flatten(-2)


class Block(nn.Module):
    """Attention and SwiGLU, each behind an RMS norm and a residual connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attn_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        y = self.attn_norm(x)
        q, k, v = (self._split(f(y)) for f in (self.attn_q, self.attn_k, self.attn_v))
        q, k = rotate(q, cosines, sines), rotate(k, cosines, sines)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(-2))
        y = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(y)) * self.ffn_up(y))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Llama(nn.Module):
    """Token ids (batch, tokens) to hidden states; ``logits`` ends it, embeddings are tied."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(VOCABULARY, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        cosines, sines = rope_tables(shape.width // shape.heads)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embd(tokens)
        length = tokens.shape[1]
        for block in self.blk:
            x = block(x, self.cosines[:length], self.sines[:length])
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, shape (..., VOCABULARY)."""
        return self.output_norm(hidden) @ self.token_embd.weight.T

    def parameter_count(self) -> int:
        """Trainable parameters, tied ones counted once."""
        return sum(p.numel() for p in self.parameters())
