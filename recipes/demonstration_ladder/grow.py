"""Grow a trained model into one twice as wide, and deeper, that computes the same.

Each channel is doubled (Chen et al. 2016, "Net2Net"): a hidden state x becomes (x, x), a matrix W
half of W in each of four corners, heads are doubled; units and layers that are new add nothing at
first. A little noise lets the doubles part ways when training goes on.
"""

from __future__ import annotations

import torch
from model import Llama
from torch import Tensor

NOISE = 0.02
SEED = 30


@torch.no_grad()
def grown(small: Llama, large: Llama) -> None:
    """Give ``large`` weights with which its logits are those of ``small``."""
    old, new = small.state_dict(), large.state_dict()
    for key, value in new.items():
        if key == "token_embd.weight":
            value.copy_(old[key].repeat(1, 2))
        elif key == "output_norm.weight":
            value.copy_(old[key].repeat(2) / 2)
        elif key not in old:  # a layer of its own
            if "attn_output" in key or "ffn_down" in key:
                value.zero_()
        elif value.dim() == 1:
            value.copy_(old[key].repeat(2))
        else:
            _double(value, old[key], key)
    large.load_state_dict(new)


def _double(value: Tensor, matrix: Tensor, key: str) -> None:
    """Fill (out, in) of at least twice the size; what is beyond it must have no effect."""
    wide = torch.cat((matrix, matrix)).repeat(1, 2) / 2
    if "ffn_down" in key:
        value.zero_()
    value[: wide.shape[0], : wide.shape[1]] = wide


@torch.no_grad()
def add_noise(model: Llama) -> None:
    """Break the symmetry of doubles: a share of each matrix's own spread."""
    torch.manual_seed(SEED)
    for matrix in model.parameters():
        if matrix.dim() == 2:
            matrix.add_(torch.randn_like(matrix) * matrix.std() * NOISE)
