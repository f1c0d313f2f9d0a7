"""The requests the loader sends."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes, and as whom."""

    port: int
    path: str = "/v1/chat/completions"
    key: str = "none"
    model: str = "mock-model"

    def post(self, document: dict[str, object]) -> bytes:
        """The bytes of a request with this body."""
        body = msgspec.json.encode(document)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def request_body(model: str, size: int) -> dict[str, object]:
    """A chat completion request of about `size` bytes."""
    filler = "All work and no play makes a dull gateway. "
    document: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": ""}]}
    missing = max(0, size - len(msgspec.json.encode(document)))
    text = (filler * (missing // len(filler) + 1))[:missing]
    document["messages"] = [{"role": "user", "content": text}]
    return document
