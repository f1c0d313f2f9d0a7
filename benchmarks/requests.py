"""The requests the loader sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

# One alternative a token: what the gateway asks for itself, so that the upstream's answer is the
# same.
ASKING_FOR_LOGPROBS: Mapping[str, object] = {"logprobs": True, "top_logprobs": 1}


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes, as whom, and what is asked for."""

    port: int
    path: str = "/v1/chat/completions"
    key: str = "none"
    model: str = "mock-model"
    logprobs: bool = False

    def chat(self, size: int, **more: object) -> bytes:
        """The bytes of a request for a chat completion, its body of `size` bytes."""
        if self.logprobs:
            more.update(ASKING_FOR_LOGPROBS)
        return self.post(request_body(self.model, size, more))

    def post(self, document: dict[str, object]) -> bytes:
        """The bytes of a request with this body."""
        body = msgspec.json.encode(document)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def request_body(
    model: str, size: int, more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """A chat completion request of `size` bytes, or of as many as its other members take."""
    filler = "All work and no play makes a dull gateway. "
    message = {"role": "user", "content": ""}
    document: dict[str, object] = {"model": model, "messages": [message], **(more or {})}
    missing = max(0, size - len(msgspec.json.encode(document)))
    message["content"] = (filler * (missing // len(filler) + 1))[:missing]
    return document
