"""Every token is counted, whichever way the upstream tells, and whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION, read_stream
from tests.end_to_end.gateway_process import (
    PATIENCE_S,
    QUIET,
    GatewayProcess,
    Starter,
    until,
)
from tests.end_to_end.mock_server import MockServer

COUNTED = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
AS_REPORTED = (11, 5, 3, 2)


@pytest.fixture(scope="module")
def gateway(start: Starter, mock: MockServer) -> GatewayProcess:
    """The mock's models, one with a price, one whose server has a tokenizer, and the engine's."""
    return start(
        f"""{QUIET}{mock_server.configuration(mock)}
[[upstreams]]
kind = "http"
name = "priced"
url = "{mock.url}"
[[upstreams.models]]
name = "priced"
upstream_name = "normal"
[upstreams.models.price]
prompt_per_million = "0.15"
completion_per_million = "0.60"
cached_per_million = "0.075"
currency = "EUR"
[[upstreams]]
kind = "http"
name = "counting"
url = "{mock.counting_url}"
[[upstreams.models]]
name = "tokenized"
upstream_name = "no-usage"
[[upstreams]]
kind = "http"
name = "failing"
url = "{mock.url}"
[[upstreams.models]]
name = "tried-twice"
upstream_name = "broken"
[[upstreams]]
kind = "http"
name = "spare"
url = "{mock.url}"
[[upstreams.models]]
name = "tried-twice"
upstream_name = "normal"
[[routes]]
name = "rising"
[[routes.stages]]
model = "demo-small"
accept_least_logprob = 0.0
[[routes.stages]]
model = "demo-large"
"""
    )


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx2.Client]:
    """A client that sees every byte and header."""
    with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers, timeout=30) as client:
        yield client


def ask(http: httpx2.Client, model: str, **more: object) -> httpx2.Response:
    """A request for that model."""
    return http.post("/chat/completions", json={"model": model, "messages": QUESTION} | more)


def the_row(gateway: GatewayProcess, answer: httpx2.Response) -> dict[str, Any]:
    """The only attempt of an answer."""
    (row,) = gateway.settled(answer.headers["x-request-id"])
    return row


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    """What was counted."""
    return tuple(row[name] for name in COUNTED)


@pytest.mark.parametrize("model", ["normal", "usage-within"])
def test_streamed_usage_equals_whole_usage(
    http: httpx2.Client, gateway: GatewayProcess, model: str
) -> None:
    """The ledger's figures for one answer, asked for in three ways and told in two."""
    for how in (
        {},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": False}},
    ):
        row = the_row(gateway, ask(http, model, **how))
        assert counts(row) == AS_REPORTED, how
        assert row["usage_source"] == "reported"
        assert row["outcome"] == "answered"
        assert row["finish_reason"] == "stop"
        assert row["streamed"] == ("stream" in how)
        assert 0 <= row["first_event_us"] <= row["duration_us"]


def test_the_engine_counts_a_stream_as_it_counts_a_whole_answer(
    http: httpx2.Client, gateway: GatewayProcess
) -> None:
    """A real model at temperature 0 gives the same answer twice, and the same figures."""
    question = [{"role": "user", "content": "add 47 38"}]
    whole = ask(http, "demo-large", messages=question, temperature=0)
    streamed = ask(http, "demo-large", messages=question, temperature=0, stream=True)
    told = whole.json()
    assert told["choices"][0]["message"]["content"].strip() == "85"
    assert read_stream(streamed.text).text.strip() == "85"
    first, second = the_row(gateway, whole), the_row(gateway, streamed)
    assert first["usage_source"] == second["usage_source"] == "reported"
    for name in ("prompt_tokens", "completion_tokens"):
        assert first[name] == second[name] == told["usage"][name] > 0


def test_a_cascade_is_counted_stage_by_stage(http: httpx2.Client, gateway: GatewayProcess) -> None:
    """What the small model used on the way up is on the books as well."""
    question = [{"role": "user", "content": "add 4738 9476"}]
    answer = ask(http, "rising", messages=question)
    assert answer.headers["x-ecluse-model"] == "demo-large"
    small, large = gateway.settled(answer.headers["x-request-id"], 2)
    assert (small["model"], small["stage"], small["outcome"]) == ("demo-small", 0, "outdone")
    assert (large["model"], large["stage"], large["outcome"]) == ("demo-large", 1, "answered")
    assert small["prompt_tokens"] == large["prompt_tokens"] > 0
    assert large["completion_tokens"] == answer.json()["usage"]["completion_tokens"]


@pytest.mark.parametrize("streamed", [False, True])
def test_without_usage_it_is_estimated_and_marked(
    http: httpx2.Client, gateway: GatewayProcess, streamed: bool
) -> None:
    """Never zero."""
    row = the_row(gateway, ask(http, "no-usage", stream=streamed))
    assert row["usage_source"] == "estimate"
    assert row["prompt_tokens"] > len(QUESTION[0]["content"].split())
    assert row["completion_tokens"] >= len(mock_server.WORDS)


@pytest.mark.parametrize("streamed", [False, True])
def test_without_usage_the_servers_tokenizer_counts(
    http: httpx2.Client, gateway: GatewayProcess, streamed: bool
) -> None:
    """Where the server has one; that of the test takes words for tokens."""
    row = the_row(gateway, ask(http, "tokenized", stream=streamed))
    assert row["usage_source"] == "tokenizer"
    assert row["prompt_tokens"] == len(QUESTION[0]["content"].split())
    assert row["completion_tokens"] == len(mock_server.WORDS)


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_of_nothing_is_not_believed(
    http: httpx2.Client, gateway: GatewayProcess, streamed: bool
) -> None:
    """No prompt has no tokens: an upstream that says so has not counted."""
    row = the_row(gateway, ask(http, "zero-usage", stream=streamed))
    assert row["usage_source"] == "estimate"
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] > 0


def test_a_broken_off_stream_is_counted(http: httpx2.Client, gateway: GatewayProcess) -> None:
    """The words that came were generated and are owed, though no usage ever came."""
    row = the_row(gateway, ask(http, "cut", stream=True))
    assert (row["outcome"], row["error_code"]) == ("failed", "upstream_truncated")
    assert row["usage_source"] == "estimate"
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] >= 2


def test_failed_attempts_are_recorded(http: httpx2.Client, gateway: GatewayProcess) -> None:
    """A refusal used nothing and is a row all the same, beside the attempt that went well."""
    row = the_row(gateway, ask(http, "picky"))
    assert (row["outcome"], row["error_code"]) == ("failed", "unsupported_value")
    assert counts(row) == (0, 0, 0, 0)
    answer = ask(http, "tried-twice")
    assert answer.headers["x-ecluse-attempts"] == "2"
    rows = gateway.settled(answer.headers["x-request-id"], 2)
    assert [(row["outcome"], row["error_code"]) for row in rows] == [
        ("failed", "upstream_failed"),
        ("answered", None),
    ]


def test_a_request_that_asked_nobody_leaves_no_row(
    http: httpx2.Client, gateway: GatewayProcess
) -> None:
    """The ledger holds attempts, not mistakes."""
    answer = ask(http, "no-such-model")
    assert answer.status_code == 404
    ask(http, "normal")
    until(
        lambda: gateway.attempts()[-1]["model"] == "normal",
        PATIENCE_S,
        "what came later is written",
    )
    assert not gateway.attempts(answer.headers["x-request-id"])


@pytest.mark.parametrize("streamed", [False, True])
def test_the_price_is_exact(http: httpx2.Client, gateway: GatewayProcess, streamed: bool) -> None:
    """(11 - 3) prompt tokens at .15, 3 cached at .075, 5 at .60 a million: 4,425 nano-euros."""
    row = the_row(gateway, ask(http, "priced", stream=streamed))
    assert (row["price_nano"], row["price_currency"]) == (4_425, "EUR")


def test_the_report_sums_the_ledger(http: httpx2.Client, gateway: GatewayProcess) -> None:
    """Every figure of ``report usage --json`` is the sum of its rows; prices are exact texts."""
    row = the_row(gateway, ask(http, "priced"))
    rows = gateway.attempts()
    report = gateway.usage()
    lines = {line["group"]: line for line in report["lines"]}
    assert set(lines) == {row["model"] for row in rows}
    for group, line in [*lines.items(), (None, report["total"])]:
        own = [row for row in rows if group in (None, row["model"])]
        assert line["attempts"] == len(own)
        assert line["requests"] == len({row["request_id"] for row in own})
        assert line["failed_attempts"] == sum(row["outcome"] == "failed" for row in own)
        assert line["estimated_attempts"] == sum(row["usage_source"] != "reported" for row in own)
        for name in COUNTED:
            assert line[name] == sum(row[name] for row in own), (group, name)
    nano = sum(row["price_nano"] for row in rows if row["model"] == "priced")
    assert lines["priced"]["spend"] == {"EUR": f"0.{nano:09}"}
    assert row["price_nano"] * lines["priced"]["attempts"] == nano
    names = {line["group"] for line in gateway.usage("key")["lines"]}
    assert len(names) == 1
    assert names.pop().startswith("first (")
