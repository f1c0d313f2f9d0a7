"""The bytes of the mock upstream's answers, built once, so that answering costs a write.

Each answer is there twice: as it is, and with the log-probability of every token in OpenAI's shape.
"""

from __future__ import annotations

import itertools

import msgspec

MODEL = "mock-model"
PROMPT_TOKENS, COMPLETION_TOKENS = 57, 41
CREATED = 1_760_000_000
# As many digits as real ones have: reading them costs what it does in life.
LOGPROBS = {
    "The": -0.07192425,
    " quick": -0.31725305,
    " brown": -1.9361265e-07,
    " fox": -0.0021358,
    " jumps": -1.3862944,
    ". ": -0.00049951,
}
LEAST_LOGPROB = min(LOGPROBS.values())
TOKENS = list(itertools.islice(itertools.cycle(LOGPROBS), COMPLETION_TOKENS))
# Never the token a chunk carries, which is its stamp: it would be read as a second one.
WORD_OF_A_CHUNK = " fox"


def response(status: bytes, document: object) -> bytes:
    """A whole HTTP response."""
    body = msgspec.json.encode(document)
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def framed(payload: bytes) -> bytes:
    """A chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def end_of_stream(completion_tokens: int) -> bytes:
    """What follows the content: the finish reason, the usage, `[DONE]` and HTTP's own end."""
    usage = framed(_event([], usage=_usage(completion_tokens)))
    return FINISH + usage + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
    }


def _logprobs(tokens: list[str]) -> dict[str, object]:
    """OpenAI's `choices[].logprobs`, with one alternative a token: the token itself."""
    content = []
    for token in tokens:
        shown = {"token": token, "logprob": LOGPROBS[token], "bytes": list(token.encode())}
        content.append({**shown, "top_logprobs": [shown]})
    return {"content": content, "refusal": None}


def _event(choices: list[object], **more: object) -> bytes:
    head = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": CREATED}
    document = {**head, "model": MODEL, "choices": choices, **more}
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def _piece(
    delta: dict[str, str], logprobs: object = None, finish_reason: str | None = None
) -> list[object]:
    return [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]


def _completion(logprobs: object) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(TOKENS)},
        "logprobs": logprobs,
        "finish_reason": "stop",
    }
    head = {"id": "chatcmpl-mock", "object": "chat.completion", "created": CREATED, "model": MODEL}
    return response(b"200 OK", {**head, "choices": [choice], "usage": _usage(COMPLETION_TOKENS)})


def _around_stamp(logprobs: object) -> tuple[bytes, bytes]:
    before, after = _event(_piece({"content": "@STAMP@ "}, logprobs)).split(b"STAMP")
    return before, after


# By whether log-probabilities were asked for.
COMPLETIONS = {False: _completion(None), True: _completion(_logprobs(TOKENS))}
AROUND_STAMP = {
    False: _around_stamp(None),
    True: _around_stamp(_logprobs([WORD_OF_A_CHUNK])),
}
FINISH = framed(_event(_piece({}, finish_reason="stop")))
MODELS = response(
    b"200 OK",
    {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "mock"}],
    },
)
NOT_FOUND = response(b"404 Not Found", {"error": {"message": "no such path", "type": "mock"}})
BAD_REQUEST = response(b"400 Bad Request", {"error": {"message": "bad body", "type": "mock"}})
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
