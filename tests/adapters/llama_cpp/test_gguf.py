"""Reading GGUF headers: the demonstration's real files, mutilated ones and hostile ones."""

import io
import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecluse.adapters.upstreams.llama_cpp.gguf import (
    MAX_ENTRIES,
    MAX_HEADER_BYTES,
    MAX_KEPT_BYTES,
    MAX_PAIRS,
    GgufFacts,
    facts_of,
    read_facts,
)
from ecluse.demonstration import ladder
from ecluse.domain.errors import ModelFileBroken

SMALL = ladder.rungs()[0].path.read_bytes()
LIMIT_S = 2.0
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9


def text(value: bytes) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    """A key, its type and its value."""
    return text(key) + struct.pack("<I", kind) + value


def tensor(kind: int, offset: int, *dimensions: int) -> bytes:
    """A tensor's entry."""
    sizes = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    head = text(b"t") + struct.pack("<I", len(dimensions))
    return head + sizes + struct.pack("<IQ", kind, offset)


def file_of(pairs: list[bytes], tensors: list[bytes] | None = None, data: int = 0) -> io.BytesIO:
    """A GGUF file with ``data`` bytes of weights."""
    tensors = tensors or []
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    body = head + b"".join(pairs) + b"".join(tensors)
    return io.BytesIO(body + bytes(-len(body) % 32 + data))


def read_or_refused(file: io.BytesIO) -> GgufFacts | None:
    """The facts, or None where the file was refused as broken; in bounded time."""
    began = time.process_time()
    try:
        return facts_of(file, "some.gguf")
    except ModelFileBroken:
        return None
    finally:
        assert time.process_time() - began < LIMIT_S


@pytest.mark.parametrize("rung", ladder.models(), ids=lambda rung: str(rung.name))
def test_the_demonstration_files(rung: ladder.Rung) -> None:
    """Real files tell what their ladder says of them."""
    facts = read_facts(rung.path)
    assert facts.context_tokens == rung.context_tokens
    assert facts.parameters == rung.parameters
    assert facts.has_chat_template
    assert facts.longest_token_bytes is not None


@settings(max_examples=200)
@given(st.binary(max_size=2_000))
def test_arbitrary_bytes(body: bytes) -> None:
    """No bytes raise anything but ModelFileBroken, with or without the right beginning."""
    read_or_refused(io.BytesIO(body))
    read_or_refused(io.BytesIO(b"GGUF\x03\0\0\0" + body))


@settings(max_examples=200)
@given(st.integers(0, len(SMALL) - 32))
def test_a_file_cut_short_is_refused(length: int) -> None:
    """A download that broke off anywhere is told at once and not by the engine."""
    assert read_or_refused(io.BytesIO(SMALL[:length])) is None


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, 8_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=5
    )
)
def test_a_mutilated_file(changes: list[tuple[int, bytes]]) -> None:
    """A header with bytes exchanged is read or refused, and its facts stay within bounds."""
    body = bytearray(SMALL)
    for place, piece in changes:
        body[place : place + len(piece)] = piece
    facts = read_or_refused(io.BytesIO(bytes(body)))
    if facts is not None:
        assert 0 <= facts.parameters <= len(body) * 8
        assert facts.context_tokens is None or facts.context_tokens > 0


@pytest.mark.parametrize(
    "file",
    [
        file_of([pair(b"k", ARRAY, struct.pack("<IQ", UINT32, 2**62))]),
        file_of([pair(b"k", ARRAY, struct.pack("<IQ", STRING, 2**62))]),
        file_of([pair(b"k", STRING, struct.pack("<Q", 2**63))]),
        file_of([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 50)]),
        file_of([pair(b"k", 99, b"")]),
        file_of([], [tensor(0, 0, 2**63, 2**63)], 64),
        file_of([], [tensor(0, 2**63, 1)], 64),
        file_of([], [tensor(0, 0, 17)], 64),
        file_of([], [tensor(0, 0, *[1] * 5)], 64),
        io.BytesIO(b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63)),
        io.BytesIO(b"GGUF" + struct.pack(">IQQ", 3, 0, 0)),
        io.BytesIO(b"GGUF" + struct.pack("<IQQ", 1, 0, 0)),
    ],
)
def test_hostile_counts_are_refused(file: io.BytesIO) -> None:
    """Lengths beyond the file, deep nesting, unknown types, other versions and byte orders."""
    assert read_or_refused(file) is None


def test_a_file_that_ends_in_its_header_is_told_so() -> None:
    """Wherever it ends, in words and not in those of the ``struct`` module."""
    entry = pair(b"k", ARRAY, struct.pack("<IQ", STRING, 2) + text(b"a" * 20) + text(b"b"))
    whole = file_of([entry]).getvalue()
    for kept in range(4, 24 + len(entry)):
        with pytest.raises(ModelFileBroken, match="it ends in the middle of its header"):
            facts_of(io.BytesIO(whole[:kept]), "cut.gguf")


def test_whole_tensors_are_accepted() -> None:
    """Weights that fill the file to its end are all there; the alignment is the file's own."""
    assert read_or_refused(file_of([], [tensor(0, 0, 16)], 64)) is not None
    facts = read_or_refused(file_of([], [tensor(2, 0, 64), tensor(12, 36, 256)], 36 + 144))
    assert facts is not None
    assert facts.parameters == 64 + 256
    wide = file_of([pair(b"general.alignment", UINT32, struct.pack("<I", 4096))], [tensor(0, 0, 1)])
    assert read_or_refused(wide) is None
    assert read_or_refused(io.BytesIO(wide.getvalue() + bytes(4096))) is not None


@pytest.mark.parametrize(
    ("model", "longest"), [(b"gpt2", 2), (b"llama", 4)], ids=["byte-level", "utf-8"]
)
def test_the_longest_token(model: bytes, longest: int) -> None:
    """Bytes of the longest token of the text, control tokens aside, in either kind of writing."""
    tokens = [b"<|end_of_text|>", "\u0120a".encode(), "\u00e9\u00e9".encode()]
    strings = struct.pack("<IQ", STRING, 3) + b"".join(map(text, tokens))
    kinds = struct.pack("<IQ3i", 5, 3, 3, 1, 1)
    file = file_of(
        [
            pair(b"tokenizer.ggml.model", STRING, text(model)),
            pair(b"tokenizer.ggml.tokens", ARRAY, strings),
            pair(b"tokenizer.ggml.token_type", ARRAY, kinds),
        ]
    )
    assert facts_of(file, "x").longest_token_bytes == longest


def test_an_added_token_counts_in_bytes() -> None:
    """What somebody added to a byte-level vocabulary is UTF-8, unlike the tokens around it."""
    added = "\u00e9\u00e9\u00e9".encode()
    strings = struct.pack("<IQ", STRING, 2) + text("\u0120abc".encode()) + text(added)
    file = file_of(
        [
            pair(b"tokenizer.ggml.model", STRING, text(b"gpt2")),
            pair(b"tokenizer.ggml.tokens", ARRAY, strings),
            pair(b"tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ2i", 5, 2, 1, 4)),
        ]
    )
    assert facts_of(file, "x").longest_token_bytes == len(added)


def test_a_long_template_is_known_to_exist() -> None:
    """A text too long to be kept still counts."""
    template = pair(b"tokenizer.chat_template", STRING, text(b"x" * (MAX_KEPT_BYTES + 1)))
    assert facts_of(file_of([template]), "x").has_chat_template


def vocabulary_of(count: int) -> io.BytesIO:
    """A file with so many tokens and as many merges."""
    strings = struct.pack("<IQ", STRING, count)
    strings += b"".join(text(b"token %d" % number) for number in range(count))
    kinds = struct.pack("<IQ", 5, count) + struct.pack("<i", 1) * count
    return file_of(
        [
            pair(b"tokenizer.ggml.model", STRING, text(b"gpt2")),
            pair(b"tokenizer.ggml.tokens", ARRAY, strings),
            pair(b"tokenizer.ggml.token_type", ARRAY, kinds),
            pair(b"tokenizer.ggml.merges", ARRAY, strings),
        ]
    )


def cpu_seconds_to_read(file: io.BytesIO) -> float:
    """The least of several readings."""
    took = []
    for _ in range(5):
        began = time.process_time()
        assert facts_of(file, "x").longest_token_bytes is not None
        took.append(time.process_time() - began)
    return min(took)


def test_the_time_of_a_vocabulary_grows_in_proportion() -> None:
    """150 000 tokens and as many merges, as large models have, are ten times 15 000, no more."""
    large, small = vocabulary_of(150_000), vocabulary_of(15_000)
    assert facts_of(large, "x").longest_token_bytes == len("token 149999")
    assert cpu_seconds_to_read(large) < 30 * cpu_seconds_to_read(small)


@pytest.mark.parametrize(
    "file",
    [
        file_of([pair(b"k", ARRAY, struct.pack("<IQ", STRING, MAX_ENTRIES + 1))], data=2**24),
        file_of(
            [pair(b"tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", 5, MAX_ENTRIES + 1))],
            data=2**24,
        ),
        file_of([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, MAX_ENTRIES + 1))], data=2**25),
        io.BytesIO(b"GGUF" + struct.pack("<IQQ", 3, 0, MAX_PAIRS + 1) + bytes(2**20)),
    ],
    ids=["strings", "types", "nested", "pairs"],
)
def test_a_header_of_nothing_but_entries_costs_little(file: io.BytesIO) -> None:
    """Millions of empty entries fit into a file, and are more than any model has."""
    with pytest.raises(ModelFileBroken, match=r"entries|settings"):
        facts_of(file, "x")


def test_a_giant_header_costs_little(tmp_path: Path) -> None:
    """A sparse file of 64 GB whose first string claims all of it is refused without reading it."""
    path = tmp_path / "giant.gguf"
    size = 64 * 10**9
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text(b"k")
    path.write_bytes(head + struct.pack("<IQ", STRING, size - 1_000))
    os.truncate(path, size)
    began = time.process_time()
    with pytest.raises(ModelFileBroken, match=f"longer than {MAX_HEADER_BYTES} bytes"):
        read_facts(path)
    assert time.process_time() - began < LIMIT_S


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe and an impossible name are sentences; none is waited for."""
    pipe = tmp_path / "pipe.gguf"
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
    for path in (tmp_path / "missing.gguf", tmp_path, pipe, Path("a\0b.gguf")):
        with pytest.raises(ModelFileBroken, match="cannot be read") as refused:
            read_facts(path)
        assert refused.value.next_step
