"""Finding local model servers over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from tests.adapters.discovery import real_answers as real

from ecluse.adapters.discovery.local import ANSWER_S, MAX_ANSWER_BYTES, Found, find_local

OLLAMA = {
    "/v1/models": real.OLLAMA_MODELS,
    "/api/version": real.OLLAMA_VERSION,
    "/api/tags": real.OLLAMA_TAGS,
    "/api/ps": real.OLLAMA_PS,
}
LM_STUDIO = {
    "/v1/models": {"data": [{"id": "meta-llama-3.1-8b-instruct"}]},
    "/api/v0/models": real.LM_STUDIO_MODELS,
    "/api/version": real.LM_STUDIO_UNKNOWN_PATH,
    "/props": real.LM_STUDIO_UNKNOWN_PATH,
}
LLAMA_CPP = {"/v1/models": real.LLAMA_CPP_MODELS, "/props": real.LLAMA_CPP_PROPS}
VLLM = {"/v1/models": real.VLLM_MODELS}
UNKNOWN = {"/v1/models": {"object": "list", "data": [{"id": "gpt", "owned_by": "somebody"}]}}
NEVER_ENDS_S = 60.0
ENDLESS_PIECE = b" " * 65_536


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@asynccontextmanager
async def model_server(
    answers: Mapping[str, object], name: str = "other", pause_s: float = 0.0
) -> AsyncIterator[int]:
    """A server with fixed answers on a free port, and Ollama's ``/api/show``; gives the port."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(pause_s)
        headers = {"server": name}
        if request.path == "/api/show" and "/api/tags" in answers:
            asked = (await request.json())["model"]
            embeds = asked.startswith("nomic")
            shown = real.OLLAMA_SHOW_EMBEDDING if embeds else real.OLLAMA_SHOW
            return web.json_response(shown, headers=headers)
        if request.path in answers:
            return web.json_response(answers[request.path], headers=headers)
        return web.json_response({}, status=404, headers=headers)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(head: bytes, piece: bytes = b"", pause_s: float = 0.0) -> AsyncIterator[int]:
    """A server that says ``head``, then ``piece`` for ever; without a piece it stays silent."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(head)
            while piece:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            await reader.read(-1)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def found_at(session: aiohttp.ClientSession, port: int) -> list[Found]:
    """Who is found at one port."""
    return [one async for one in find_local(session, {"ollama": port})]


@pytest.mark.parametrize(
    ("answers", "kind", "models"),
    [
        (OLLAMA, "ollama", ["gemma3:4b"]),
        (LM_STUDIO, "lm_studio", ["qwen2-vl-7b-instruct", "meta-llama-3.1-8b-instruct"]),
        (LLAMA_CPP, "llama_cpp", ["Qwen3-4B-Q4_K_M.gguf"]),
        (VLLM, "vllm", ["mistralai/Mistral-7B-Instruct-v0.3", "our-lora"]),
    ],
)
async def test_each_kind_is_told_by_its_answers(
    session: aiohttp.ClientSession,
    answers: Mapping[str, object],
    kind: str,
    models: list[str],
) -> None:
    """A server is known for what it says, at whatever port it is."""
    async with model_server(answers) as port:
        (found,) = await found_at(session, port)
        assert found.kind == kind
        assert found.url == f"http://127.0.0.1:{port}/v1"
        assert [offer.upstream_model for offer in found.offers] == models


async def test_all_at_once(session: aiohttp.ClientSession) -> None:
    """Several servers are found together, each once."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ports = {
            "ollama": await enter(model_server(OLLAMA)),
            "lm_studio": await enter(model_server(LM_STUDIO)),
            "llama_cpp": await enter(model_server(LLAMA_CPP)),
            "vllm": await enter(model_server(VLLM)),
        }
        found = [one async for one in find_local(session, ports)]
    assert sorted(one.kind for one in found) == sorted(ports)


async def test_ecluse_never_finds_itself(session: aiohttp.ClientSession) -> None:
    """A server that calls itself ecluse is left alone, whatever else it says."""
    for answers in (OLLAMA, LLAMA_CPP, VLLM):
        async with model_server(answers, name="ecluse") as port:
            assert await found_at(session, port) == []


async def test_an_unknown_server_is_not_taken_for_one(session: aiohttp.ClientSession) -> None:
    """A list of models alone may be anybody's, a gateway to paid models for instance."""
    async with model_server(UNKNOWN) as port:
        assert await found_at(session, port) == []


async def test_nobody_there(session: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    """A closed port is no server and no error."""
    assert await found_at(session, unused_tcp_port) == []


async def test_a_long_list_is_read_whole(session: aiohttp.ClientSession) -> None:
    """A list that arrives in many pieces is not cut after the first."""
    models = [{"id": f"model-{n}", "owned_by": "vllm", "x": "x" * 1_000} for n in range(1_000)]
    async with model_server({"/v1/models": {"data": models}}) as port:
        (found,) = await found_at(session, port)
    assert len(found.offers) == 1_000


@pytest.mark.parametrize(
    ("head", "piece", "pause_s"),
    [
        (b"", b"", 0.0),
        (b"\x00\xff garbage\r\n\r\n", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n", 0.0),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\n\r\n[", ENDLESS_PIECE, 0.0),
        (b"HTTP/1.1 200 OK\r\n\r\n[", b" ", 0.05),
        (
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            b"",
            0,
        ),
    ],
)
async def test_a_hostile_server_costs_little_time(
    session: aiohttp.ClientSession, head: bytes, piece: bytes, pause_s: float
) -> None:
    """Garbage, endless and dripping answers are waited out, and hide nobody else."""
    async with raw_server(head, piece, pause_s) as hostile, model_server(LLAMA_CPP) as port:
        ports = {"ollama": hostile, "llama_cpp": port}
        async with asyncio.timeout(NEVER_ENDS_S):
            found = [one async for one in find_local(session, ports, patience_s=0.5)]
    assert [one.kind for one in found] == ["llama_cpp"]


@pytest.mark.parametrize("piece", [b"", b" "], ids=["silent", "dripping"])
async def test_no_answer_takes_longer_than_the_patience(
    session: aiohttp.ClientSession, piece: bytes
) -> None:
    """Not even as long as a single answer may take where there is time."""
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n[", piece, 0.01) as port:
        times = []
        for patience_s in (0.1, 0.1, 0.1, NEVER_ENDS_S):
            began = time.monotonic()
            looking = find_local(session, {"ollama": port}, patience_s=patience_s)
            assert [one async for one in looking] == []
            times.append(time.monotonic() - began)
    *hasty, patient = times
    assert min(hasty) < ANSWER_S * 0.9 < patient


async def test_too_long_an_answer_is_none(session: aiohttp.ClientSession) -> None:
    """Beyond any list of models nothing is read further."""
    padded = real.VLLM_MODELS | {"padding": "x" * MAX_ANSWER_BYTES}
    async with model_server({"/v1/models": padded}) as port:
        assert await found_at(session, port) == []


async def test_a_slow_server_ends_with_the_patience(session: aiohttp.ClientSession) -> None:
    """Each answer in time, all of them together not: what is not known by then stays unknown."""
    async with model_server(OLLAMA, pause_s=0.3) as port:
        ports = {"ollama": port}
        assert [one async for one in find_local(session, ports, patience_s=0.5)] == []
        assert len([one async for one in find_local(session, ports, patience_s=NEVER_ENDS_S)]) == 1
