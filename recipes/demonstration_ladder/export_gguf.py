"""Write a trained model as GGUF in f16: ``python export_gguf.py demo-small``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFWriter, LlamaFileType, TokenType
from model import (
    ASSISTANT,
    BOS,
    CONTEXT_TOKENS,
    END,
    NORM_EPSILON,
    ROPE_BASE,
    SHAPES,
    USER,
    VOCABULARY,
    Llama,
)

CONTROL_TOKENS = {BOS: "<|bos|>", USER: "<|user|>", ASSISTANT: "<|assistant|>", END: "<|end|>"}
DESCRIPTION = "DEMONSTRATION: adds small numbers and sorts digits, and can do nothing else."

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


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    alphabet, spare = [], 256
    for byte in range(256):
        if byte in printable:
            alphabet.append(chr(byte))
        else:
            alphabet.append(chr(spare))
            spare += 1
    return alphabet


def add_tokenizer(writer: GGUFWriter) -> None:
    """A byte-level vocabulary: each token is one byte, and there is nothing to merge."""
    letters = byte_alphabet()
    tokens = [*letters, *(CONTROL_TOKENS[i] for i in range(256, VOCABULARY))]
    types = [TokenType.NORMAL] * 256 + [TokenType.CONTROL] * (VOCABULARY - 256)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    # The engine wants at least one merge; this one's result is no token, so it never applies.
    writer.add_token_merges([f"{letters[0]} {letters[1]}"])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_facts(writer: GGUFWriter, model: Llama) -> None:
    """The architecture's numbers, and what the file is."""
    shape = model.shape
    writer.add_name(shape.name)
    writer.add_description(DESCRIPTION)
    writer.add_license("Apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
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
    """Matrices in f16, norms in f32; the names are those of the state dict."""
    for name, weight in model.state_dict().items():
        kind = np.float32 if weight.dim() == 1 else np.float16
        writer.add_tensor(name, weight.numpy().astype(kind))


def export(name: str, weights: Path, out: Path) -> None:
    """Write ``out`` from a state dict."""
    model = Llama(SHAPES[name])
    model.load_state_dict(torch.load(weights, weights_only=True))
    writer = GGUFWriter(out, "llama")
    add_facts(writer, model)
    add_tokenizer(writer)
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
    parser.add_argument("--out", type=Path, default=Path("../../src/ecluse/demonstration/models"))
    options = parser.parse_args()
    source = options.weights / f"{options.name}.pt"
    export(options.name, source, options.out / f"{options.name}.gguf")


if __name__ == "__main__":
    main()
