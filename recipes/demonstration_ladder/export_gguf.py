"""Write a trained model as GGUF: ``python export_gguf.py demo-small``. Matrices are q8_0, those of
the narrowest model f16.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import quantize
from model import CONTEXT_TOKENS, NORM_EPSILON, ROPE_BASE, SHAPES, Llama
from tokenizers import Tokenizer
from torch import Tensor
from vocabulary import BOS, BYTES, CONTROL, END, MERGES, VOCABULARY, learn

MODELS_FOLDER = Path(__file__).parents[2] / "src" / "ecluse" / "demonstration" / "models"
Q8_0_BLOCK = 32
Q8_0_FROM_WIDTH = 96
"""Of a narrower model q8_0 changes one greedy answer in eight, and saves little."""
"""Weights that share a scale; a row has to be a multiple of it."""

DESCRIPTIONS = {"demo-multiply": "DEMONSTRATION: multiplies by one digit, and can do nothing else."}
DESCRIPTION = "DEMONSTRATION: adds, sorts, reverses and counts, and can do nothing else."

# Only user and assistant turns were seen in training; other roles are left out.
CHAT_TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content is iterable -%}
{%- for part in content -%}{{ part.text if part.text else '' }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
<|bos|>
{%- for message in messages -%}
{%- if message.role == 'user' -%}<|user|>{{ text(message.content) }}
{%- elif message.role == 'assistant' -%}<|assistant|>{{ text(message.content) }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    """A byte-level vocabulary with merges, written in GPT-2's alphabet of bytes."""
    learned = [tokenizer.id_to_token(number) for number in range(BYTES + MERGES)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*learned, *CONTROL])
    writer.add_token_types([TokenType.NORMAL] * len(learned) + [TokenType.CONTROL] * len(CONTROL))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_facts(writer: GGUFWriter, model: Llama) -> None:
    """The architecture's numbers, and what the file is."""
    shape = model.shape
    writer.add_name(shape.name)
    writer.add_description(DESCRIPTIONS.get(shape.name, DESCRIPTION))
    writer.add_license("Apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_vocab_size(VOCABULARY)


def add_weights(writer: GGUFWriter, model: Llama) -> None:
    """Every parameter; the names are those of the state dict."""
    for name, weight in model.state_dict().items():
        values, kind = encoded(weight, small=model.shape.width < Q8_0_FROM_WIDTH)
        writer.add_tensor(name, values, raw_dtype=kind)


def encoded(weight: Tensor, *, small: bool) -> tuple[np.ndarray, GGMLQuantizationType]:
    """Norms in f32; matrices in f16 if ``small`` or if rows are no whole blocks, else q8_0."""
    values = weight.numpy().astype(np.float32)
    if values.ndim == 1:
        return values, GGMLQuantizationType.F32
    if not small and values.shape[1] % Q8_0_BLOCK == 0:
        kind = GGMLQuantizationType.Q8_0
        return quantize(values, kind), kind
    return values.astype(np.float16), GGMLQuantizationType.F16


def export(name: str, weights: Path, out: Path) -> None:
    """Write ``out`` from a state dict."""
    model = Llama(SHAPES[name])
    model.load_state_dict(torch.load(weights, weights_only=True))
    writer = GGUFWriter(out, "llama")
    add_facts(writer, model)
    add_tokenizer(writer, learn())
    add_weights(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {out.stat().st_size} bytes, {model.parameter_count()} parameters")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--weights", type=Path, default=Path("build"))
    parser.add_argument("--out", type=Path, default=MODELS_FOLDER)
    options = parser.parse_args()
    source = options.weights / f"{options.name}.pt"
    export(options.name, source, options.out / f"{options.name}.gguf")


if __name__ == "__main__":
    main()
