"""Streams end as they should, whatever upstreams do, and never look whole when they are not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION, Stream, read_stream
from tests.end_to_end.gateway_process import NO_DEMONSTRATION, QUIET, GatewayProcess, Starter
from tests.end_to_end.mock_server import TEXT, MockServer


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """One that stays silent until the answer begins, however long that takes."""
    return start(
        f"[server]\nhold_silently_seconds = 3_600\n{QUIET}{NO_DEMONSTRATION}"
        f"{mock_server.configuration(mock)}"
        # Two places for one model, of which the first always fails in its own way.
        # Breakers remember: what must fail anew is another model.
        + "".join(
            _with_spare(mock, name, use)
            for name in ("broken", "garbage", "busy", "cut")
            for use in ("stream", "whole")
        )
    )


def _with_spare(mock: MockServer, failing: str, use: str) -> str:
    return "".join(
        f'[[upstreams]]\nkind = "http"\nname = "{failing}-{use}-{position}"\nurl = "{mock.url}"\n'
        f'[[upstreams.models]]\nname = "spared-{failing}-{use}"\nupstream_name = "{model}"\n'
        for position, model in enumerate((failing, "normal"))
    )


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx2.Client]:
    """A client that sees every byte and header."""
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def hasty(start: Starter, mock: MockServer) -> Iterator[httpx2.Client]:
    """Asks one that stays silent for a shorter time than what is late takes to begin."""
    gateway = start(
        f"[server]\nhold_silently_seconds = 0.2\n{QUIET}{NO_DEMONSTRATION}"
        f"{mock_server.configuration(mock)}"
    )
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers, timeout=20) as client:
        yield client


def ask(http: httpx2.Client, model: str, **more: object) -> httpx2.Response:
    """A streamed request."""
    body = {"model": model, "messages": QUESTION, "stream": True} | more
    return http.post("/chat/completions", json=body)


def whole_stream(answer: httpx2.Response) -> Stream:
    """A stream that must have gone well."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    stream = read_stream(answer.text)
    assert stream.is_done
    assert not stream.errors
    return stream


def test_a_stream_passes_as_it_is(http: httpx2.Client) -> None:
    """Words, one terminal finish_reason, [DONE], unknown fields, and the headers that tell."""
    answer = ask(http, "normal")
    stream = whole_stream(answer)
    assert stream.text == TEXT
    assert stream.finish_reasons == ["stop"]
    assert all(p["x_unknown"] == {"kept": [1, 2.5, None]} for p in stream.payloads)
    assert '"kept": [1, 2.5, null]' in answer.text, "bytes pass unchanged"
    assert answer.headers["x-ecluse-model"] == "normal"
    assert answer.headers["x-ecluse-attempts"] == "1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-cache"


def test_words_arrive_while_the_upstream_still_speaks(
    http: httpx2.Client, mock: MockServer
) -> None:
    """Nothing is held back where the first answer is taken: a word is here before the next."""
    body = {"model": "gated", "messages": QUESTION, "stream": True}
    mock.let_go()
    with http.stream("POST", "/chat/completions", json=body) as answer:
        text, pieces = "", answer.iter_text()
        for word in mock_server.WORDS:
            while word not in text:
                text += next(pieces)
            if word != mock_server.WORDS[-1]:
                assert mock.open_streams == 1
                mock.let_go()
        text += "".join(pieces)
    assert read_stream(text).text == TEXT


def test_a_missing_done_is_supplied(http: httpx2.Client) -> None:
    """An upstream that just closes after its finish_reason has given a whole answer."""
    stream = whole_stream(ask(http, "no-done"))
    assert stream.text == TEXT
    assert stream.finish_reasons == ["stop"]


def test_a_missing_finish_reason_is_supplied(http: httpx2.Client) -> None:
    """[DONE] says that the answer is whole; clients wait for a finish_reason."""
    stream = whole_stream(ask(http, "no-finish"))
    assert stream.text == TEXT
    assert stream.finish_reasons == ["stop"]


def test_tools_end_with_tool_calls(http: httpx2.Client) -> None:
    """Also where the upstream says stop, on which agents would not run the tool."""
    stream = whole_stream(ask(http, "tools"))
    assert stream.finish_reasons == ["tool_calls"]
    calls = [c for p in stream.payloads for c in p["choices"][0]["delta"].get("tool_calls", ())]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert arguments == mock_server.TOOL_CALL["function"]["arguments"]


@pytest.mark.parametrize("model", ["cut", "ends-early", "error-within"])
def test_a_truncated_stream_fails_visibly(http: httpx2.Client, model: str) -> None:
    """What came so far, then an error object with a reason, and no [DONE]."""
    answer = ask(http, model)
    assert answer.status_code == 200
    stream = read_stream(answer.text)
    assert stream.text == "one two "
    assert not stream.is_done
    (error,) = stream.errors
    assert error["code"] in ("upstream_truncated", "upstream_failed")
    assert error["message"]
    assert stream.finish_reasons == []


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("broken", 502, "upstream_failed"),
        ("garbage", 502, "upstream_garbage"),
        ("picky", 400, "unsupported_value"),
        ("busy", 429, "rate_limit_exceeded"),
    ],
)
def test_a_failure_before_the_first_chunk_is_an_http_error(
    http: httpx2.Client, model: str, status: int, code: str
) -> None:
    """Never 200 with an error inside, as long as nothing was sent."""
    answer = ask(http, model)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("failing", ["broken", "garbage", "busy"])
@pytest.mark.parametrize("streamed", [True, False])
def test_another_place_answers_unnoticed(
    http: httpx2.Client, gateway: GatewayProcess, failing: str, streamed: bool
) -> None:
    """A failure before the first word costs an attempt, which the headers and the ledger tell."""
    use = "stream" if streamed else "whole"
    answer = ask(http, f"spared-{failing}-{use}", stream=streamed)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ecluse-attempts"] == "2"
    text = whole_stream(answer).text if streamed else _content(answer)
    assert text == TEXT
    rows = gateway.settled(answer.headers["x-request-id"], 2)
    assert [(row["outcome"], row["deployment"]) for row in rows] == [
        ("failed", f"{failing}-{use}-0/spared-{failing}-{use}"),
        ("answered", f"{failing}-{use}-1/spared-{failing}-{use}"),
    ]


def test_no_second_answer_is_glued_to_half_of_a_first(http: httpx2.Client) -> None:
    """Once a word has left there is no other place to go: the stream fails visibly."""
    stream = read_stream(ask(http, "spared-cut-stream").text)
    assert stream.text == "one two "
    assert len(stream.errors) == 1


def _content(answer: httpx2.Response) -> str:
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content


def test_comments_keep_a_late_stream_alive(hasty: httpx2.Client) -> None:
    """After hold_silently_seconds: 200 and a comment, then the answer, which tells its model."""
    answer = ask(hasty, "late")
    stream = whole_stream(answer)
    assert stream.comments[:1] == ["waiting"]
    assert stream.text == TEXT
    assert "x-ecluse-model" not in answer.headers
    told = [payload["ecluse"] for payload in stream.payloads if "ecluse" in payload]
    assert told == [{"model": "late", "attempts": 1}]


def test_a_failure_after_the_comments_is_told_in_the_stream(hasty: httpx2.Client) -> None:
    """The status is spent by then; the error object is all there is, and no [DONE]."""
    answer = ask(hasty, "late-failure")
    assert answer.status_code == 200
    stream = read_stream(answer.text)
    assert stream.comments
    assert not stream.is_done
    assert [error["code"] for error in stream.errors] == ["upstream_failed"]


def test_usage_is_shown_only_to_those_who_ask(http: httpx2.Client) -> None:
    """The gateway asks for it always, and takes it out again."""
    for model in ("normal", "usage-within"):
        silent = whole_stream(ask(http, model))
        assert not any(payload.get("usage") for payload in silent.payloads)
        assert all(payload["choices"] for payload in silent.payloads)
        told = whole_stream(ask(http, model, stream_options={"include_usage": True}))
        assert told.payloads[-1]["usage"] == mock_server.USAGE
        assert told.payloads[-1]["choices"] == []
