"""The ASGI application: finds the endpoint, turns errors into answers, takes note of the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from ecluse.api import models
from ecluse.api.chat_completions import chat_completions
from ecluse.api.exchange import CLIENT_CLOSED_REQUEST, ClientLeft, Exchange, Receive, Scope, Send
from ecluse.api.operations import healthz, metrics, readyz
from ecluse.api.serving import Process, Serving
from ecluse.domain.errors import EcluseError, MethodNotAllowed, NothingAlive, UnknownPath
from ecluse.domain.values.identifiers import RANDOM_BYTES, uuid7
from ecluse.domain.values.request_note import RequestNote
from ecluse.ports import Clock

logger = logging.getLogger(__name__)

Endpoint = Callable[[Exchange, Serving, RequestNote], Awaitable[None]]

ENDPOINTS: Mapping[str, Mapping[str, Endpoint]] = {
    "/v1/chat/completions": {"POST": chat_completions},
    "/v1/models": {"GET": models.list_models, "HEAD": models.list_models},
    "/healthz": {"GET": healthz, "HEAD": healthz},
    "/readyz": {"GET": readyz, "HEAD": readyz},
    "/metrics": {"GET": metrics, "HEAD": metrics},
}
ONE_MODEL: Mapping[str, Endpoint] = {"GET": models.one_model, "HEAD": models.one_model}

PARTING_S = 1.0
"""How long a client that does not read may hold up a stop."""
STOPPING = NothingAlive(
    "The gateway is stopping.", next_step="Ask again in a moment.", retry_after_s=5
)


class Dispatcher:
    """Serves HTTP over raw ASGI; lifespan and websockets are not spoken."""

    def __init__(self, process: Process, clock: Clock) -> None:
        self._process = process
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
            return
        now_us = self._clock.unix_us()
        request_id = uuid7(now_us // 1_000, self._clock.random_bytes(RANDOM_BYTES))
        generation = self._process.present()
        serving = generation.serving
        exchange = Exchange(scope, receive, send, f"req_{request_id}", serving.limits.root_path)
        note = RequestNote(exchange.request_id, exchange.method, exchange.path[:200], now_us)
        generation.enter()
        try:
            await self._serve(exchange, serving, note)
        finally:
            generation.leave()
            note.status = note.status or exchange.status or CLIENT_CLOSED_REQUEST
            note.duration_us = self._clock.unix_us() - now_us
            self._process.observe(note)

    async def _serve(self, exchange: Exchange, serving: Serving, note: RequestNote) -> None:
        try:
            await _endpoint(exchange)(exchange, serving, note)
        except EcluseError as error:
            note.error_code = error.code
            await exchange.respond_error(error)
        except ClientLeft:
            note.status, note.error_code = CLIENT_CLOSED_REQUEST, "client_left"
        except asyncio.CancelledError:
            # The server's drain is over, and what it cancels it would log as a crash of ours.
            note.error_code = "stopped"
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # before Python 3.11.3 no timeout works in a cancelled task
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING_S):
                    await exchange.break_off(STOPPING)
        except Exception:
            logger.exception("request %s failed", exchange.request_id)
            note.error_code = EcluseError.code
            if exchange.status != 0:
                raise  # the server closes the connection: a broken answer must not look whole
            await exchange.respond_error(
                EcluseError(
                    "The gateway failed.",
                    next_step=f"Its log tells more under {exchange.request_id}.",
                )
            )


def _endpoint(exchange: Exchange) -> Endpoint:
    methods = ENDPOINTS.get(exchange.path)
    if methods is None and exchange.path.startswith(models.PREFIX):
        methods = ONE_MODEL
    if methods is None:
        raise UnknownPath(
            f"There is nothing at {exchange.path[:200]}.",
            next_step=f"There is: {', '.join(ENDPOINTS)}. Base URLs of OpenAI clients end in /v1.",
        )
    endpoint = methods.get(exchange.method)
    if endpoint is None:
        raise MethodNotAllowed(f"{exchange.path} does not take {exchange.method}.", allowed=methods)
    return endpoint
