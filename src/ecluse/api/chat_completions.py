"""``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ecluse.api.authentication import authenticate
from ecluse.api.chat_request import read_chat_request
from ecluse.api.deadline import read_deadline
from ecluse.api.exchange import Exchange, Headers, WhileConnected
from ecluse.api.serving import Serving
from ecluse.api.shown_answer import WAITING, ShownStream, shown_whole
from ecluse.domain.errors import EcluseError
from ecluse.domain.values.answer import Progress
from ecluse.domain.values.identifiers import RequestId
from ecluse.domain.values.request import ChatRequest
from ecluse.domain.values.request_note import RequestNote
from ecluse.runtime.held_stream import silences

COMMENT_EVERY_S = 5.0
DEADLINE_HEADER = b"x-ecluse-deadline"


async def chat_completions(exchange: Exchange, serving: Serving, note: RequestNote) -> None:
    """Answer a chat request, streamed or not."""
    account = authenticate(exchange, serving)
    note.key_id = account.key_id
    deadline_us = read_deadline(exchange.header(DEADLINE_HEADER))
    body = await exchange.body(serving.limits.max_body_bytes)
    request = read_chat_request(body, deadline_us)
    note.route, note.stream = request.route, request.stream
    fleet = serving.fleet_now()
    note.route_exists = request.route in fleet.routes or request.route in fleet.deployments
    async with WhileConnected(exchange):
        answer = serving.gateway.answer(RequestId(exchange.request_id), request, account)
        if request.stream:
            await _stream(exchange, serving, note, request, answer)
        else:
            await _whole(exchange, serving, note, answer)


async def _whole(
    exchange: Exchange,
    serving: Serving,
    note: RequestNote,
    answer: AsyncGenerator[Progress, None],
) -> None:
    async with aclosing(answer):
        progress = await anext(answer)
        _take_note(note, progress, serving)
        await anext(answer, None)  # lets the attempt end, so that it is settled as answered
    body = shown_whole(progress)
    await exchange.respond(200, body, b"application/json", _telling(progress))


async def _stream(
    exchange: Exchange,
    serving: Serving,
    note: RequestNote,
    request: ChatRequest,
    answer: AsyncGenerator[Progress, None],
) -> None:
    shown = ShownStream(request)
    try:
        async with aclosing(
            silences(answer, serving.limits.hold_silently_s, COMMENT_EVERY_S)
        ) as held:
            async for progress in held:
                if progress is None:
                    if exchange.status == 0:
                        await exchange.start_stream()
                    await exchange.write(WAITING)
                    continue
                if exchange.status == 0:
                    shown.told_in_headers = progress.model, progress.attempts
                    await exchange.start_stream(_telling(progress))
                _take_note(note, progress, serving)
                await exchange.write(shown.write(progress))
        await exchange.finish(shown.end())
    except EcluseError as error:
        if exchange.status == 0:
            raise
        note.error_code = error.code
        await exchange.break_off(error)


def _take_note(note: RequestNote, progress: Progress, serving: Serving) -> None:
    note.model, note.attempts = progress.model, progress.attempts
    if note.first_token_us is None:
        note.first_token_us = serving.clock.unix_us() - note.started_at_us
    for event in progress.events:
        if event.usage is not None:
            note.usage = event.usage


def _telling(progress: Progress) -> Headers:
    return (
        (b"x-ecluse-model", progress.model.encode()),
        (b"x-ecluse-attempts", str(progress.attempts).encode()),
    )
