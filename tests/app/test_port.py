"""The address that was wanted, held by another."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from ecluse.app.server import bound_socket
from ecluse.domain.errors import PortTaken


async def refusal(server_header: str) -> str:
    """What a second program is told while one that calls itself so answers."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(headers={"server": server_header})

    application = web.Application()
    application.router.add_get("/healthz", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    try:
        with pytest.raises(PortTaken) as caught:
            await asyncio.to_thread(bound_socket, "127.0.0.1", port)
    finally:
        await runner.cleanup()
    return str(caught.value)


async def test_an_ecluse_is_told_from_other_programs() -> None:
    """Often it is the one that was forgotten in another terminal."""
    assert "an Ecluse is serving there" in await refusal("ecluse")
    assert "taken by another program" in await refusal("nginx")
