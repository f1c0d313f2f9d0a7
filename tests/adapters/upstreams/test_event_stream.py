"""Server-sent events: however a stream is cut and written, the same payloads come out."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecluse.adapters.upstreams.event_stream import EventStreamDecoder
from ecluse.domain.errors import UpstreamGarbage

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
PAYLOADS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=8).map(
        str.encode
    ),
    min_size=1,
    max_size=5,
)
NOISE = st.sampled_from([[], [b": ping"], [b"event: x"], [b"id: 1"], [b"retry: 5"], [b"data2: x"]])
FRAGMENTS = st.sampled_from(
    [b"\n", b"\r", b"\n\n", b"\r\n\r\n", b"data:", b"data: x", b"\xef\xbb\xbf", b": c", b"event: e"]
)
STREAMS = st.one_of(st.binary(max_size=60), st.lists(FRAGMENTS, max_size=20).map(b"".join))


def decoded(*pieces: bytes) -> list[bytes]:
    """All payloads of a stream that came in these pieces."""
    decoder = EventStreamDecoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)] + decoder.rest()


@given(stream=STREAMS, data=st.data())
@example(stream=b"\xef\xbb\xbfdata: x\n\n", data=None)
@example(stream=b"data: a\r\n\r\ndata: b\r\r", data=None)
@example(stream=b"data: a\r\ndata: b\r\n\r\n", data=None)
def test_cuts_do_not_matter(stream: bytes, data: st.DataObject | None) -> None:
    """Any cutting of any bytes gives what the whole gives, byte by byte included."""
    at = st.lists(st.integers(0, len(stream)), max_size=8).map(sorted)
    cuts = range(len(stream)) if data is None else data.draw(at)
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert decoded(*pieces) == decoded(stream)


@given(payloads=PAYLOADS, end=LINE_ENDS, data=st.data())
def test_what_is_written_comes_out(payloads: list[bytes], end: bytes, data: st.DataObject) -> None:
    """Payloads survive any line end and anything that is written around them."""
    stream = b""
    for payload in payloads:
        lines = [*data.draw(NOISE), b"data: " + payload, *data.draw(NOISE)]
        stream += end.join([*lines, b"", b""])
    assert decoded(stream) == payloads


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\ndata: b\ndata:\ndata:  c\n\n", [b"a\nb\n\n c"]),
        (b"data:a\n\n", [b"a"]),
        (b"data\n\n", []),
        (b"data: \n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b": only a comment\n\n", []),
        (b"database: x\n data: y\n\n", []),
        (b"data: a\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\r", [b"a"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbbdata: a\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"", []),
    ],
)
def test_the_standards_corners(stream: bytes, payloads: list[bytes]) -> None:
    """Several data lines, no space, no last blank line, byte order marks, comments."""
    assert decoded(stream) == payloads


def test_an_event_comes_out_as_soon_as_it_is_whole() -> None:
    """Nothing waits for the next event."""
    decoder = EventStreamDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r\n\r\n") == [b"b"]
    assert decoder.feed(b"data: c\n\ndata: d\n\ndata") == [b"c", b"d"]


@pytest.mark.parametrize("piece", [b"data: xxxx", b"data: x\r", b": xxxxx\n", b"\xef\xbb\xbfxxx"])
def test_memory_is_bounded(piece: bytes) -> None:
    """An event that never ends is garbage once it is over the limit."""
    decoder = EventStreamDecoder(max_event_bytes=1_000)
    with pytest.raises(UpstreamGarbage, match="1000 bytes"):  # noqa: PT012
        for _ in range(200):
            decoder.feed(piece)


def test_many_small_events_are_not_one_large_one() -> None:
    """The limit is an event's, not the stream's."""
    decoder = EventStreamDecoder(max_event_bytes=100)
    fed = [decoder.feed(b"data: 0123456789\n\n") for _ in range(100)]
    assert fed == [[b"0123456789"]] * 100


def test_a_large_event_in_small_pieces_costs_what_it_is_long() -> None:
    """Nothing is searched or copied twice: an answer with an image in it is no burden."""
    decoder = EventStreamDecoder()
    piece = b"x" * 1_000
    began = time.process_time()
    assert not any(decoder.feed(part) for part in (b"data: ", *[piece] * 6_000))
    assert decoder.feed(b"\n\n") == [piece * 6_000]
    assert time.process_time() - began < 2


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_nothing_else_is_ever_raised(pieces: list[bytes]) -> None:
    """Whatever an upstream sends, the only error is ours."""
    decoder = EventStreamDecoder(max_event_bytes=300)
    try:
        for piece in pieces:
            decoder.feed(piece)
            decoder.rest() if not piece else None
    except UpstreamGarbage:
        pass
