"""The facts in a GGUF file's header (GGUF versions 2 and 3, little-endian).

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count is bounded by
what is left of the header, so that a broken or hostile file costs neither memory nor time.
"""

from __future__ import annotations

import errno
import math
import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ecluse.domain.errors import ModelFileBroken

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_HEADER_BYTES: Final = 128 * 1024 * 1024
"""Several times the vocabulary of 262 144 tokens and its merges, the largest known."""

MAX_ENTRIES: Final = 2_000_000
"""Of pairs, tensors and the members of arrays together: thrice that vocabulary and its merges."""

MAX_PAIRS: Final = 65_535
MAX_KEY_BYTES: Final = 65_535
MAX_KEPT_BYTES: Final = 65_535
MAX_DIMENSIONS: Final = 4
MAX_NESTING: Final = 4
BITS_PER_BYTE: Final = 8
ALIGNMENT: Final = 32
INT32, STRING, ARRAY = 5, 8, 9
LEAST_ARRAY_BYTES: Final = 12
"""An array within an array: the type of its members and their number."""

SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
TENSOR_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Elements and bytes of a block, by the number of the tensor's type (``ggml.h``)."""

TOKENS: Final = "tokenizer.ggml.tokens"
KINDS_OF_TOKENS: Final = "tokenizer.ggml.token_type"
NORMAL_TOKEN, CONTROL_TOKEN = 1, 3
BYTE_LEVEL: Final = "gpt2"

Value = str | int | float | bool | None


class GgufFacts(msgspec.Struct, frozen=True):
    """What a GGUF says of its model.

    ``longest_token_bytes`` is that of the longest token that text can become, markers of the chat
    template aside; None where the file has no vocabulary.
    """

    architecture: str
    name: str
    licence: str
    context_tokens: int | None
    parameters: int
    longest_token_bytes: int | None
    has_chat_template: bool


def read_facts(path: Path) -> GgufFacts:
    """Read a file's header. Raises ModelFileBroken with what to do."""
    try:
        if path.exists() and not path.is_file():
            # To open a pipe would wait for its writer.
            raise OSError(errno.EINVAL, "it is not a file")
        with path.open("rb") as file:
            return facts_of(file, path.name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileBroken(
            f"The model file {path} cannot be read: {reason}.",
            next_step="Check its path in the configuration.",
        ) from error


def facts_of(file: BinaryIO, name: str) -> GgufFacts:
    """Read the header of an open, seekable file. Raises ModelFileBroken."""
    try:
        return _Header(file).facts()
    except (struct.error, ValueError, OverflowError) as error:
        raise ModelFileBroken(
            f"{name} is not a whole GGUF file: {error}.",
            next_step="Download it again and compare its checksum.",
        ) from error


class _Header:
    """Reads front to back. Raises ValueError or struct.error where the file is wrong."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._end = min(self._size, MAX_HEADER_BYTES)
        self._data_bytes = 0
        self._entries_left = MAX_ENTRIES
        file.seek(0)
        self._values: dict[str, Value] = {}
        self._tokens: list[bytes] = []
        self._token_types: tuple[int, ...] = ()

    def facts(self) -> GgufFacts:
        if self._file.read(4) != MAGIC:
            raise ValueError("it does not begin with the letters GGUF")
        version, tensors, pairs = self._unpack("<I"), self._unpack("<Q"), self._unpack("<Q")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}, known are 2 and 3")
        if pairs > MAX_PAIRS:
            raise ValueError(f"it claims to have {pairs} settings")
        for _ in range(self._counted(pairs, 12)):
            key = self._string(MAX_KEY_BYTES).decode(errors="replace")
            self._values[key] = self._value(self._unpack("<I"), key)
        parameters = sum(self._tensor_elements() for _ in range(self._counted(tensors, 24)))
        self._check_whole()
        return self._facts(parameters)

    def _check_whole(self) -> None:
        """A download that broke off has its header, and not the last of its tensors."""
        alignment = self._values.get("general.alignment")
        step = alignment if isinstance(alignment, int) and alignment > 0 else ALIGNMENT
        begin = -(-self._file.tell() // step) * step
        if begin + self._data_bytes > self._size:
            raise ValueError("it ends before its last tensor")

    def _facts(self, parameters: int) -> GgufFacts:
        architecture = self._text("general.architecture")
        context = self._values.get(f"{architecture}.context_length")
        return GgufFacts(
            architecture=architecture,
            name=self._text("general.name"),
            licence=self._text("general.license"),
            context_tokens=context if isinstance(context, int) and context > 0 else None,
            parameters=parameters,
            longest_token_bytes=self._longest_token_bytes(),
            has_chat_template="tokenizer.chat_template" in self._values,
        )

    def _longest_token_bytes(self) -> int | None:
        """A byte-level vocabulary writes each byte of its normal tokens as one character; tokens
        that somebody added, and other vocabularies, are UTF-8.
        """
        types = self._token_types or (NORMAL_TOKEN,) * len(self._tokens)
        byte_level = self._text("tokenizer.ggml.model") == BYTE_LEVEL
        return max(
            (
                len(text.decode(errors="replace"))
                if byte_level and kind == NORMAL_TOKEN
                else len(text)
                for text, kind in zip(self._tokens, types, strict=False)
                if kind != CONTROL_TOKEN
            ),
            default=None,
        )

    def _text(self, key: str) -> str:
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def _value(self, kind: int, key: str, depth: int = 0) -> Value:
        if kind == STRING:
            text = self._string(self._size)
            # Long ones are templates and the like, of which it is enough to know that they exist.
            return text.decode(errors="replace") if len(text) <= MAX_KEPT_BYTES else None
        if kind == ARRAY:
            self._read_array(key, depth)
            return None
        form = SCALARS.get(kind)
        if form is None:
            raise ValueError(f"it has a value of the unknown type {kind}")
        number: Value = self._unpack(form)
        return number

    def _read_array(self, key: str, depth: int) -> None:
        """Read over an array; only the vocabulary is kept."""
        kind, count = self._unpack("<I"), self._unpack("<Q")
        if depth > MAX_NESTING:
            raise ValueError("its arrays are nested too deeply")
        if kind in SCALARS:
            size = struct.calcsize(SCALARS[kind])
            if key == KINDS_OF_TOKENS and kind == INT32:
                types = self._file.read(self._counted(count, size) * size)
                self._token_types = struct.unpack(f"<{count}i", types)
            else:
                self._file.seek(self._bounded(count, size) * size, os.SEEK_CUR)
        elif kind == STRING:
            self._read_strings(self._counted(count, 8), self._tokens if key == TOKENS else None)
        else:
            for _ in range(self._counted(count, LEAST_ARRAY_BYTES)):
                self._value(kind, key, depth + 1)

    def _read_strings(self, count: int, kept: list[bytes] | None) -> None:
        """Read over many strings; this is where the time goes."""
        read, length_of = self._file.read, struct.Struct("<Q").unpack
        left = self._end - self._file.tell()
        for _ in range(count):
            if left < 8:
                raise ValueError(self._too_short())
            length: int = length_of(read(8))[0]
            left -= 8 + length
            if left < 0:
                raise ValueError(self._too_short())
            text = read(length)
            if kept is not None:
                kept.append(text)

    def _tensor_elements(self) -> int:
        self._string(MAX_KEY_BYTES)
        dimensions = self._unpack("<I")
        if dimensions > MAX_DIMENSIONS:
            raise ValueError(f"it has a tensor of {dimensions} dimensions")
        elements = math.prod(self._unpack("<Q") for _ in range(dimensions))
        kind, offset = self._unpack("<I"), self._unpack("<Q")
        # Of a type that is too new to be known here, an element has at least a bit.
        per_block, block_bytes = TENSOR_BLOCKS.get(kind, (BITS_PER_BYTE, 1))
        self._data_bytes = max(self._data_bytes, offset + elements // per_block * block_bytes)
        return elements

    def _string(self, limit: int) -> bytes:
        length = self._unpack("<Q")
        if length > min(limit, self._end - self._file.tell()):
            raise ValueError(self._too_short())
        return self._file.read(length)

    def _bounded(self, count: int, least_bytes: int) -> int:
        if count * least_bytes > self._end - self._file.tell():
            raise ValueError(self._too_short())
        return count

    def _counted(self, count: int, least_bytes: int) -> int:
        """A count of things that are looked at one by one."""
        self._entries_left -= self._bounded(count, least_bytes)
        if self._entries_left < 0:
            raise ValueError(f"its header has more than {MAX_ENTRIES} entries")
        return count

    def _too_short(self) -> str:
        if self._end < self._size:
            return f"its header is longer than {MAX_HEADER_BYTES} bytes"
        return "it ends in the middle of its header"

    def _unpack(self, form: str) -> int:
        size = struct.calcsize(form)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError(self._too_short())
        value: int = struct.unpack(form, data)[0]
        return value
