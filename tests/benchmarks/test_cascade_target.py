"""The target `cascade`: the first of two stages answers, and nothing else differs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from benchmarks.cores import GATEWAY_CORE
from benchmarks.measure import start_mock
from benchmarks.mock_answers import LEAST_LOGPROB
from benchmarks.processes import Process
from benchmarks.requests import Target
from benchmarks.targets import ACCEPT_LEAST_LOGPROB, Prepared, Way, cascade, cascade_config


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """The gateway as it is measured, and its upstream."""
    mock, port = start_mock()
    with mock:
        target = cascade(tmp_path_factory.mktemp("gateway"), port)
        with Process(
            target.command,
            core=GATEWAY_CORE,
            directory=target.directory,
            environment=target.environment,
        ) as process:
            process.wait_ready(target.port, target.ready_path, target.ready_within)
            yield target


async def _ask(gateway: Prepared, way: Way, **more: object) -> tuple[dict[str, str], bytes]:
    target = Target(gateway.port, key=gateway.key, model=way.model, logprobs=way.logprobs)
    _, _, body = target.chat(1000, **more).partition(b"\r\n\r\n")
    headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{gateway.port}{target.path}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        assert answer.status == 200
        return dict(answer.headers), await answer.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_stage_answers_and_only_who_asked_sees_log_probabilities(
    gateway: Prepared, stream: bool
) -> None:
    """One attempt each way; the text is the same each way."""
    more: dict[str, Any] = {"stream": True, "max_tokens": 30} if stream else {}
    for way in gateway.ways:
        headers, body = await _ask(gateway, way, **more)
        assert headers["x-ecluse-model"] == "mock-model"
        assert headers["x-ecluse-attempts"] == "1"
        assert (b'"top_logprobs"' in body) == way.logprobs
        assert body.count(b"@ ") == 30 if stream else b"The quick brown fox" in body


def test_the_first_stage_is_always_good_enough() -> None:
    """The mock is never less certain than the route accepts."""
    assert ACCEPT_LEAST_LOGPROB < LEAST_LOGPROB


@pytest.mark.parametrize("tokens", [None, 16])
def test_early_commitment_is_a_key_of_the_first_stage(tokens: int | None) -> None:
    """It is left out until it is given a number."""
    (route,) = tomllib.loads("[[upstreams]]\n" + cascade_config(tokens))["routes"]
    first, last = route["stages"]
    assert first.get("commit_after_tokens") == tokens
    assert "commit_after_tokens" not in last
    assert "accept_least_logprob" not in last
