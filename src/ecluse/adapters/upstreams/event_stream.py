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
        self._pending = b""
        self._at_start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the payloads completed by this piece, in order."""
        buffer = self._pending + piece if self._pending else piece
        if self._at_start:
            if BYTE_ORDER_MARK.startswith(buffer):
                self._pending = buffer
                return []
            buffer = buffer.removeprefix(BYTE_ORDER_MARK)
            self._at_start = False
        if b"\r" in buffer:
            held_back = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer[: len(buffer) - len(held_back)]
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held_back = b""
        blocks, separator, rest = buffer.rpartition(b"\n\n")
        self._pending = rest + held_back
        if len(self._pending) > self._max_event_bytes:
            raise UpstreamGarbage(
                f"The upstream sent an event of more than {self._max_event_bytes} bytes."
            )
        if not separator:
            return []
        return [payload for block in blocks.split(b"\n\n") if (payload := _payload(block))]

    def rest(self) -> list[bytes]:
        """Return what an upstream that closed without the last blank line left behind.

        The standard would drop it; some servers end so after their last event.
        """
        pending, self._pending = self._pending, b""
        payload = _payload(pending.replace(b"\r", b"\n"))
        return [payload] if payload else []


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
