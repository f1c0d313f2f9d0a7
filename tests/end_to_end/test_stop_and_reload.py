"""Signals at awkward moments, and what a reload cannot change."""

from __future__ import annotations

import asyncio
import signal
import threading

import httpx2
import pytest
from tests.end_to_end import mock_server
from tests.end_to_end.events import QUESTION
from tests.end_to_end.gateway_process import NO_DEMONSTRATION, QUIET, GatewayProcess, Starter, until
from tests.end_to_end.mock_server import MockServer

ALONE = QUIET + NO_DEMONSTRATION


@pytest.mark.parametrize("model", ["crawling", "endless"])
async def test_a_second_interrupt_waits_for_nobody(
    start: Starter, mock: MockServer, model: str
) -> None:
    """Not for a long answer, nor for a client that does not read; a third stops no settling."""
    gateway = start(ALONE + mock_server.configuration(mock))
    body = {"model": model, "messages": QUESTION, "stream": True}
    url = f"{gateway.base_url}/chat/completions"
    async with (
        httpx2.AsyncClient(headers=gateway.headers, timeout=30) as client,
        client.stream("POST", url, json=body) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces)
        gateway.signal(signal.SIGINT)
        await asyncio.sleep(0.5)
        assert gateway.process.poll() is None, "the first lets answers end"
        gateway.signal(signal.SIGINT)
        await asyncio.sleep(0.05)
        gateway.signal(signal.SIGINT)
        await asyncio.to_thread(gateway.wait)  # less long than drain_seconds
    (row,) = gateway.attempts()
    assert row["outcome"] == "abandoned"


def test_a_hangup_during_the_start_is_a_reload(start: Starter, mock: MockServer) -> None:
    """The file was read already and may have changed; the process does not end."""
    slow = f'[[upstreams]]\nkind = "http"\nname = "asked"\nurl = "{mock.hesitant_url}"\n'
    gateway = start.prepare(ALONE + slow)
    hesitated = mock.hesitated
    starting = threading.Thread(target=gateway.start)
    starting.start()
    until(lambda: mock.hesitated > hesitated, 30, "the upstream is asked what it serves")
    gateway.file.write_text(ALONE + '[[upstreams]]\nkind = "scripted"\nname = "new"\n', "utf-8")
    gateway.signal(signal.SIGHUP)
    starting.join()
    until(lambda: "generation 2" in gateway.log(), 10, "the new file is served")
    assert "scripted" in httpx2.get(f"{gateway.base_url}/models", headers=gateway.headers).text
    gateway.stop()


def metrics_status(gateway: GatewayProcess) -> int:
    """What somebody without a key gets."""
    return httpx2.get(f"{gateway.url}/metrics").status_code


def test_a_reload_opens_no_metrics(start: Starter) -> None:
    """The socket stays open to the network, whatever host the new file names."""
    server = '[server]\nhost = "0.0.0.0"\n'
    gateway = start.prepare(server + ALONE)
    gateway.make_key()
    gateway.start()
    assert metrics_status(gateway) == 401
    gateway.file.write_text(ALONE + '[server]\nlog = "text"\ndrain_seconds = 1\n', "utf-8")
    gateway.signal(signal.SIGHUP)
    until(lambda: "generation 2" in gateway.log(), 10, "the new file is served")
    assert metrics_status(gateway) == 401
    for name in ("server.host", "server.log", "server.drain_seconds"):
        assert name in gateway.log()
    gateway.stop()


@pytest.mark.parametrize("key", ['root_path = "/ai"', 'trusted_proxies = ["127.0.0.1"]'])
def test_metrics_behind_a_proxy_need_a_key(start: Starter, key: str) -> None:
    """All the world comes from this machine then."""
    gateway = start(f"[server]\n{key}\n{ALONE}")
    assert metrics_status(gateway) == 401
    headers = gateway.headers
    assert httpx2.get(f"{gateway.url}/metrics", headers=headers).status_code == 200
    gateway.stop()


def test_not_ready_while_nobody_answers(start: Starter, unused_tcp_port: int) -> None:
    """A configured model is known, but its upstream is away."""
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    entry = f'[[upstreams]]\nkind = "http"\nname = "away"\nurl = "{url}"\n'
    gateway = start(f'{ALONE}{entry}[[upstreams.models]]\nname = "m"\n')
    ready = httpx2.get(f"{gateway.url}/readyz")
    assert ready.status_code == 503
    assert "doctor" in ready.json()["reason"]
    body = {"model": "m", "messages": QUESTION}
    url = f"{gateway.base_url}/chat/completions"
    assert httpx2.post(url, json=body, headers=gateway.headers).status_code == 503
    gateway.stop()
