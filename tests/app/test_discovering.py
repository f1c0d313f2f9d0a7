"""What is found on this machine and in the environment becomes members with names of their own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

import aiohttp
from tests.support.openai_server import OpenAIServer, Request, Step, whole
from yarl import URL

from ecluse.adapters.discovery.local import Kind
from ecluse.app.discovering import Discovering
from ecluse.config.schema import Configuration, Discovery, HttpUpstream
from ecluse.runtime.members import Member


def llama_cpp(request: Request) -> Iterable[Step]:
    """A llama.cpp with one model."""
    if request.path == "/v1/models":
        return whole({"data": [{"id": "m"}]})
    if request.path == "/props":
        return whole({"default_generation_settings": {"n_ctx": 8}})
    return whole({}, 404)


def port_of(server: OpenAIServer) -> int:
    """Where it listens."""
    port = URL(server.url).port
    assert port is not None
    return port


async def found(configuration: Configuration, ports: dict[Kind, int]) -> dict[str, Member]:
    """The members that are found at these ports, by name."""
    async with aiohttp.ClientSession() as session:
        discovering = Discovering(session, {}, ports)
        async with aclosing(discovering.search(configuration)()) as members:
            listed = [member async for member in members]
    by_name = {member.name: member for member in listed}
    assert len(by_name) == len(listed), "a member is lost where two have one name"
    return by_name


async def test_two_servers_of_one_kind_are_two_members() -> None:
    """The one elsewhere than at its usual port is named for its port too, found first or not."""
    async with OpenAIServer(llama_cpp) as usual, OpenAIServer(llama_cpp) as other:
        ports: dict[Kind, int] = {"vllm": port_of(other), "llama_cpp": port_of(usual)}
        members = await found(Configuration(), ports)
    assert members.keys() == {"llama_cpp", f"llama_cpp-{port_of(other)}"}


async def test_a_server_beside_a_configured_one_of_its_name() -> None:
    """Another machine's llama.cpp was called so; ours is found all the same."""
    configuration = Configuration(upstreams=(HttpUpstream("llama_cpp", "http://far:8080/v1"),))
    async with OpenAIServer(llama_cpp) as server:
        members = await found(configuration, {"llama_cpp": port_of(server)})
    assert members.keys() == {f"llama_cpp-{port_of(server)}"}


async def test_a_configured_server_is_not_found_again() -> None:
    """Nor is anything looked for where that is switched off."""
    async with OpenAIServer(llama_cpp) as server:
        ports: dict[Kind, int] = {"llama_cpp": port_of(server)}
        url = server.url.replace("127.0.0.1", "localhost")
        assert not await found(Configuration(upstreams=(HttpUpstream("mine", url),)), ports)
        assert not await found(Configuration(discovery=Discovery(local=False)), ports)


async def test_paid_suppliers_are_members_once_enabled() -> None:
    """A key alone enables nothing, and what is configured under the name stands."""
    environment = {"MISTRAL_API_KEY": "k", "OPENAI_API_KEY": "k"}
    enabled = Discovery(paid=("mistral", "groq"))
    mine = HttpUpstream("mistral", "https://eu.mistral.example/v1")
    async with aiohttp.ClientSession() as session:
        paid = Discovering(session, environment).paid
        assert [member.name for member in paid(Configuration(discovery=enabled))] == ["mistral"]
        assert not list(paid(Configuration(discovery=enabled, upstreams=(mine,))))
