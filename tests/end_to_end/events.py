"""Server-sent events as a client that looks closely reads them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from openai import OpenAI

QUESTION: Any = [{"role": "user", "content": "How many words do you know?"}]


class Stream(NamedTuple):
    """A whole stream: its payloads decoded, ``[DONE]`` and comments apart."""

    payloads: list[dict[str, Any]]
    comments: list[str]
    is_done: bool

    @property
    def text(self) -> str:
        """What the first choice said."""
        choices = [payload["choices"][0] for payload in self.payloads if payload.get("choices")]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def finish_reasons(self) -> list[str]:
        """Every finish_reason that was given, in order."""
        given = [c.get("finish_reason") for p in self.payloads for c in p.get("choices", ())]
        return [reason for reason in given if reason]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The error objects in the stream."""
        return [payload["error"] for payload in self.payloads if "error" in payload]


def read_stream(body: str) -> Stream:
    """Take a stream apart; what is not server-sent events as OpenAI writes them fails."""
    payloads, comments, is_done = [], [], False
    assert body.endswith("\n\n")
    for event in body.removesuffix("\n\n").split("\n\n"):
        assert not is_done, "nothing comes after [DONE]"
        if event.startswith(":"):
            comments.append(event[1:].strip())
            continue
        assert event.startswith("data: "), event
        data = event.removeprefix("data: ")
        assert "\n" not in data
        if data == "[DONE]":
            is_done = True
        else:
            payloads.append(json.loads(data))
    return Stream(payloads, comments, is_done)


def client_of(base_url: str, key: str) -> OpenAI:
    """The SDK without its retries, so that what the gateway says is what a test sees."""
    return OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
