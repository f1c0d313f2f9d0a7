"""The facts in a GGUF file's header (GGUF versions 2 and 3, little-endian).

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count is bounded by
what is left of the file, so that a broken or hostile one costs neither memory nor time.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ecluse.domain.errors import ModelFileBroken

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_KEY_BYTES: Final = 65_535
MAX_DIMENSIONS: Final = 4
MAX_NESTING: Final = 4
INT32, STRING, ARRAY = 5, 8, 9
SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
TOKENS: Final = "tokenizer.ggml.tokens"
KINDS_OF_TOKENS: Final = "tokenizer.ggml.token_type"
CONTROL_TOKEN: Final = 3
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
        with path.open("rb") as file:
            return facts_of(file, path.name)
    except OSError as error:
        raise ModelFileBroken(
            f"The model file {path} cannot be read: {error.strerror or error}.",
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
        for _ in range(self._bounded(pairs, 12)):
            key = self._string(MAX_KEY_BYTES).decode(errors="replace")
            self._values[key] = self._value(self._unpack("<I"), key)
        parameters = sum(self._tensor_elements() for _ in range(self._bounded(tensors, 24)))
        return self._facts(parameters)

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
        """A byte-level vocabulary writes each byte as one character; others write UTF-8."""
        types = self._token_types or (0,) * len(self._tokens)
        texts = [t for t, kind in zip(self._tokens, types, strict=False) if kind != CONTROL_TOKEN]
        if self._text("tokenizer.ggml.model") == BYTE_LEVEL:
            return max((len(t.decode(errors="replace")) for t in texts), default=None)
        return max(map(len, texts), default=None)

    def _text(self, key: str) -> str:
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def _value(self, kind: int, key: str, depth: int = 0) -> Value:
        if kind == STRING:
            return self._string(self._size).decode(errors="replace")
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
            length = self._bounded(count, size) * size
            if key == KINDS_OF_TOKENS and kind == INT32:
                self._token_types = struct.unpack(f"<{count}i", self._file.read(length))
            else:
                self._file.seek(length, os.SEEK_CUR)
            return
        for _ in range(self._bounded(count, 8)):
            if kind == STRING and key == TOKENS:
                self._tokens.append(self._string(self._size))
            else:
                self._value(kind, key, depth + 1)

    def _tensor_elements(self) -> int:
        self._string(MAX_KEY_BYTES)
        dimensions = self._unpack("<I")
        if dimensions > MAX_DIMENSIONS:
            raise ValueError(f"it has a tensor of {dimensions} dimensions")
        elements = math.prod(self._unpack("<Q") for _ in range(dimensions))
        self._unpack("<I")
        if self._unpack("<Q") > self._size:
            raise ValueError("it ends before its last tensor")
        return elements

    def _string(self, limit: int) -> bytes:
        length = self._unpack("<Q")
        if length > min(limit, self._size - self._file.tell()):
            raise ValueError("it ends in the middle of its header")
        return self._file.read(length)

    def _bounded(self, count: int, least_bytes: int) -> int:
        if count * least_bytes > self._size - self._file.tell():
            raise ValueError("it ends in the middle of its header")
        return count

    def _unpack(self, form: str) -> int:
        value: int = struct.unpack(form, self._file.read(struct.calcsize(form)))[0]
        return value
