"""Any HTTP server that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from ecluse.adapters.upstreams import tokenizing
from ecluse.adapters.upstreams.event_stream import EventStreamDecoder
from ecluse.adapters.upstreams.http_errors import as_upstream_error, refusal
from ecluse.adapters.upstreams.model_list import read_model_list
from ecluse.adapters.upstreams.openai_wire import DONE, AnswerReader, as_chunk
from ecluse.adapters.upstreams.session import Sending
from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.errors import UpstreamError, UpstreamGarbage
from ecluse.domain.values.answer import Event, Events
from ecluse.domain.values.request import Call

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
ASKING_S: Final = 5.0
ENDING_S: Final = 0.02
BUSY: Final = (429, 503)
CLOSED_ALREADY: Final = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    ConnectionResetError,
)
"""What aiohttp raises for it: while it waits for the answer, or at the writing."""


class HttpUpstream:
    """One OpenAI-compatible server at ``url`` (its base, often ending in ``/v1``). A query in it,
    such as Azure's ``api-version``, goes with every request.

    ``offers`` given means the server is not asked what it serves. ``silence_s`` is the longest
    gap without a byte, ``connect_s`` the longest wait for a connection.
    """

    def __init__(
        self,
        name: str,
        url: str,
        session: aiohttp.ClientSession,
        *,
        key: str | None = None,
        offers: Sequence[Offer] | None = None,
        connect_s: float = 5.0,
        silence_s: float = 300.0,
        verify_tls: bool = True,
        has_tokenizer: bool = True,
    ) -> None:
        given = URL(url)
        base = given.with_path(given.raw_path.rstrip("/"), encoded=True)
        self._name = name
        self._session = session
        self._chat_url = (base / "chat/completions").with_query(given.query)
        self._models_url = (base / "models").with_query(given.query)
        root = base.parent if base.name == "v1" else base
        self._tokenize_url = (root / "tokenize").with_query(given.query)
        self._offers = offers
        self._headers = CIMultiDict({hdrs.CONTENT_TYPE: "application/json"})
        self._headers[hdrs.ACCEPT_ENCODING] = "identity"
        if key:
            self._headers[hdrs.AUTHORIZATION] = f"Bearer {key}"
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_s, sock_read=silence_s
        )
        self._tls = verify_tls
        self._has_tokenizer = has_tokenizer

    async def offers(self) -> Sequence[Offer]:
        """See Upstream.offers."""
        if self._offers is not None:
            return self._offers
        async with self._request("GET", self._models_url, None, quick=True) as response:
            if response.status != 200:
                raise await self._refusal(response)
            return read_model_list(await _bounded(response, MAX_LIST_BYTES))

    async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
        """See Upstream.attempt."""
        reader = AnswerReader()
        async with self._request("POST", self._chat_url, call.body) as response:
            if response.status != 200:
                raise await self._refusal(response)
            if not call.stream:
                yield (await _whole_answer(response, reader),)
                return
            if response.content_type == "application/json":
                yield (as_chunk(await _whole_answer(response, reader)),)
                reader.read(DONE)  # its length said so
            else:
                decoder = EventStreamDecoder()
                read = response.content.readany
                while not reader.said_done and (piece := await read()):
                    for events in _events(reader, decoder.feed(piece)):
                        yield events
                for events in _events(reader, decoder.rest()):
                    yield events
            if not reader.has_begun and response.content_type == "text/html":
                raise UpstreamGarbage(
                    f"The upstream {self._name} sent a web page, not an OpenAI answer.",
                    next_step="Check its url in the configuration; it often ends in /v1.",
                )
            if (end := reader.end()) is not None:
                yield (end,)
            await _let_it_end(response)

    async def count_tokens(self, model: str, text: str) -> int | None:
        """See Upstream.count_tokens: the ``/tokenize`` of llama.cpp and vLLM."""
        if not self._has_tokenizer:
            return None
        body = tokenizing.question(model, text)
        try:
            async with self._request("POST", self._tokenize_url, body, quick=True) as response:
                answer = await _bounded(response, MAX_ANSWER_BYTES)
                count = tokenizing.answer(answer) if response.status == 200 else None
        except UpstreamError:
            return None
        self._has_tokenizer = count is not None or response.status in BUSY
        return count

    async def close(self) -> None:
        """See Upstream.close; the session belongs to whoever passed it in."""

    @asynccontextmanager
    async def _request(
        self, method: str, url: URL, body: bytes | None, *, quick: bool = False
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """One HTTP exchange; leaving early closes the connection, foreign errors are translated."""
        response: aiohttp.ClientResponse | None = None
        timeout = aiohttp.ClientTimeout(total=ASKING_S) if quick else self._timeout
        try:
            response = await self._send(method, url, body, timeout)
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise as_upstream_error(error, self._name, answering=response is not None) from error
        finally:
            if response is not None:
                response.release() if response.content.at_eof() else response.close()

    async def _send(
        self, method: str, url: URL, body: bytes | None, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send once, and once more when a kept-alive connection turned out to be closed.

        On a fresh connection the upstream has read the request, and may have begun to answer it.
        """
        for last_try in (False, True):
            sending = Sending()
            try:
                return await self._session.request(
                    method,
                    url,
                    data=body,
                    headers=self._headers,
                    timeout=timeout,
                    allow_redirects=False,
                    ssl=self._tls,
                    trace_request_ctx=sending,
                )
            except CLOSED_ALREADY:
                if last_try or not sending.reuses_connection:
                    raise
        raise AssertionError("unreachable")

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        body = await _bounded(response, MAX_ERROR_BYTES, cut=True)
        return refusal(self._name, response.status, response.headers, body)


def _events(reader: AnswerReader, payloads: list[bytes]) -> Iterator[Events]:
    """Read payloads that arrived together; what stood before a bad one is not lost."""
    events: list[Event] = []
    try:
        for payload in payloads:
            if (event := reader.read(payload)) is not None:
                events.append(event)
            elif reader.said_done:
                break
    except UpstreamError:
        if events:
            yield tuple(events)
        raise
    if events:
        yield tuple(events)


async def _whole_answer(response: aiohttp.ClientResponse, reader: AnswerReader) -> Event:
    event = reader.read(await _bounded(response, MAX_ANSWER_BYTES))
    if event is None or not event.choices:
        raise UpstreamGarbage("The upstream's answer has no choices.")
    return event


async def _let_it_end(response: aiohttp.ClientResponse) -> None:
    """Give the upstream a moment to end its body, so that the connection can be used again."""
    try:
        async with asyncio.timeout(ENDING_S):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError):
        return  # the answer is whole; only the connection is lost


async def _bounded(response: aiohttp.ClientResponse, limit: int, *, cut: bool = False) -> bytes:
    """Read a body of at most ``limit`` bytes; a longer one is cut, or is garbage."""
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            if cut:
                break
            raise UpstreamGarbage(f"The upstream's answer is longer than {limit} bytes.")
    return b"".join(pieces)[:limit]
