"""Server-sent events, bytes in and payloads out (WHATWG HTML, section 9.2.6). No I/O here.

Only ``data`` matters to an OpenAI stream: event names, ids, retries and comments are read over.
"""

from __future__ import annotations

from ecluse.domain.errors import UpstreamGarbage

MAX_EVENT_BYTES = 16 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventStreamDecoder:
    """Cuts a byte stream into the data payloads of its events.

    Lines may end in LF, CR LF or CR, and pieces may be cut anywhere. An event of more than
    ``max_event_bytes`` raises UpstreamGarbage, so that memory stays bounded.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._held_back = b""
        self._at_start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the payloads completed by this piece, in order."""
        piece = self._without_mark(self._held_back + piece)
        if self._at_start:
            return []
        fresh, self._held_back = _with_plain_line_ends(piece)
        blocks, separator, rest = fresh.rpartition(b"\n\n")
        if rest.endswith(b"\n"):
            # It may be the first half of a separator: what is pending is never searched again.
            rest, self._held_back = rest[:-1], b"\n" + self._held_back
        done = self._taken() + blocks if separator else b""
        self._pending += rest
        if len(self._pending) + len(self._held_back) > self._max_event_bytes:
            raise UpstreamGarbage(
                f"The upstream sent an event of more than {self._max_event_bytes} bytes."
            )
        return [payload for block in done.split(b"\n\n") if (payload := _payload(block))]

    def rest(self) -> list[bytes]:
        """Return what an upstream that closed without the last blank line left behind.

        The standard would drop it; some servers end so after their last event.
        """
        left, self._held_back = self._held_back, b""
        payload = _payload(self._taken() + left.replace(b"\r", b"\n"))
        return [payload] if payload else []

    def _taken(self) -> bytes:
        pending, self._pending = bytes(self._pending), bytearray()
        return pending

    def _without_mark(self, beginning: bytes) -> bytes:
        """Drop a byte order mark at the start; hold back what may yet become one."""
        if not self._at_start:
            return beginning
        if BYTE_ORDER_MARK.startswith(beginning):
            self._held_back = beginning
            return b""
        self._at_start = False
        return beginning.removeprefix(BYTE_ORDER_MARK)


def _with_plain_line_ends(piece: bytes) -> tuple[bytes, bytes]:
    """A piece with LF for CR LF and CR; and its last CR, which may be half of a CR LF."""
    if b"\r" not in piece:
        return piece, b""
    half = b"\r" if piece.endswith(b"\r") else b""
    whole = piece[: len(piece) - len(half)]
    return whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), half


def _payload(block: bytes) -> bytes:
    """Join the data lines of one event."""
    if block.startswith(b"data:") and b"\n" not in block:
        return block[6:] if block[5:6] == b" " else block[5:]
    values = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values)
