"""What the Upstream port promises, asked of the fake and of each real adapter alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import chain, cycle

import aiohttp
import msgspec
import psutil
import pytest
import pytest_asyncio
from tests.support.openai_server import (
    PATIENCE_S,
    STREAM_HEAD,
    USAGE,
    OpenAIServer,
    Request,
    Step,
    chunk,
    chunks,
    completion,
    data,
    delta,
    stream,
    whole,
)

from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.adapters.upstreams.llama_cpp.engine import EngineSettings
from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.adapters.upstreams.llama_cpp.upstream import LlamaCppUpstream
from ecluse.adapters.upstreams.scripted import Script, ScriptedUpstream
from ecluse.demonstration import ladder
from ecluse.domain.catalog.deployments import Offer
from ecluse.domain.values.answer import Event
from ecluse.domain.values.request import Call
from ecluse.ports import Upstream

PROMPT = "sort 3 1 2 4"
TEXT = "1 2 3 4"
LONG = 200
"""An answer of so many tokens is still going when we leave it."""
DELAY_S = 0.05
"""Before the first event of those whose time is ours to choose."""
TRIES = 50
"""As often a busy machine may let an answer begin before we look."""


@dataclass
class Subject:
    """An upstream, its model, and how many requests it is busy with as seen from its side."""

    upstream: Upstream
    model: str
    busy: Callable[[], int]


@asynccontextmanager
async def scripted() -> AsyncGenerator[Subject, None]:
    """The fake, answering slowly enough to be interrupted."""
    upstream = ScriptedUpstream("words", Script(TEXT, delay_s=DELAY_S, piece_s=0.01))
    yield Subject(upstream, "words", lambda: upstream.open_attempts)


def unpooled() -> aiohttp.ClientSession:
    """Without kept-alive connections, an open one is a request being answered."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


@asynccontextmanager
async def over_http() -> AsyncGenerator[Subject, None]:
    """A server that speaks the OpenAI API well."""

    def answer(request: Request) -> Iterable[Step]:
        if request.path == "/v1/models":
            return whole({"data": [{"id": "m"}]})
        body = request.json()
        if request.path == "/tokenize":
            return whole({"tokens": body["content"].split()})
        usage = USAGE | {"prompt_tokens": 4, "completion_tokens": 4}
        if not body["stream"]:
            return whole(completion(TEXT, usage=usage))
        if body.get("max_tokens") == LONG:  # it never ends, unless we leave
            return chain((STREAM_HEAD, DELAY_S), cycle((chunk(data(delta("word "))), 0.01)))
        *words, last = chunks(*TEXT.replace(" ", " |").split("|"))
        return stream(*words, last | {"usage": usage}, pause_s=0.01)

    async with unpooled() as session, OpenAIServer(answer) as server:
        upstream = HttpUpstream("u", server.url, session)
        yield Subject(upstream, "m", lambda: server.open_connections)


@asynccontextmanager
async def embedded() -> AsyncGenerator[Subject, None]:
    """A real, tiny model in a child process of its own."""
    rung = ladder.rungs()[-1]
    settings = EngineSettings(rung.path, rung.name, rung.context_tokens, threads=1, temperature=0.0)

    def busy() -> int:
        assert upstream.engine.pid is not None
        connections = psutil.Process(upstream.engine.pid).net_connections()
        return sum(c.status == psutil.CONN_ESTABLISHED for c in connections)

    async with unpooled() as session:
        upstream = LlamaCppUpstream("e", settings, read_facts(rung.path), session, silence_s=20)
        await upstream.warm_up()
        yield Subject(upstream, rung.name, busy)
        await upstream.close()


SUBJECTS = {"scripted": scripted, "http": over_http, "llama.cpp": embedded}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=SUBJECTS, loop_scope="module", scope="module")
async def subject(request: pytest.FixtureRequest) -> AsyncGenerator[Subject, None]:
    """Each implementation of the port, started once."""
    async with SUBJECTS[request.param]() as made:
        yield made


def call(subject: Subject, *, streamed: bool, **more: object) -> Call:
    """A greedy question that every subject answers in the same way each time."""
    body = {
        "model": subject.model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": streamed,
        "temperature": 0,
    }
    if streamed:
        body["stream_options"] = {"include_usage": True}
    return Call(subject.model, msgspec.json.encode(body | more), streamed, (PROMPT,))


def long_call(subject: Subject) -> Call:
    """A question whose answer we leave."""
    return call(subject, streamed=True, ignore_eos=True, max_tokens=LONG)


async def events_of(subject: Subject, asked: Call) -> list[Event]:
    """All events of one attempt."""
    async with aclosing(subject.upstream.attempt(asked)) as answer:
        groups = [events async for events in answer]
    assert all(groups), "events that arrived together are never none"
    return [event for events in groups for event in events]


def text_of(events: list[Event]) -> str:
    """What was generated."""
    return "".join(piece.text for event in events for piece in event.choices)


async def test_it_says_what_it_serves(subject: Subject) -> None:
    """The model is among its offers, each time anew."""
    for _ in range(2):
        offers = await subject.upstream.offers()
        assert [offer.upstream_model for offer in offers] == [subject.model]
        assert all(isinstance(offer, Offer) for offer in offers)


async def test_a_whole_answer_is_one_event(subject: Subject) -> None:
    """With its choices, its usage, and the bytes of a chat completion."""
    (event,) = await events_of(subject, call(subject, streamed=False))
    (piece,) = event.choices
    told = msgspec.json.decode(event.raw)
    assert told["object"] == "chat.completion"
    assert told["choices"][0]["message"]["content"] == piece.text == TEXT
    assert told["choices"][0]["finish_reason"] == piece.finish_reason == "stop"
    assert event.usage is not None
    assert event.usage.prompt_tokens > 0
    assert event.usage.completion_tokens > 0
    assert event.usage.source == "reported"
    assert event.model == told["model"]


async def test_a_stream_tells_the_same(subject: Subject) -> None:
    """Text, usage and end are those of the whole answer, in pieces."""
    (once,) = await events_of(subject, call(subject, streamed=False))
    events = await events_of(subject, call(subject, streamed=True))
    assert len([event for event in events if text_of([event])]) > 1
    assert text_of(events) == once.choices[0].text
    ends = [p.finish_reason for event in events for p in event.choices if p.finish_reason]
    assert ends == ["stop"]
    usages = [event.usage for event in events if event.usage is not None]
    assert once.usage is not None
    assert [(u.prompt_tokens, u.completion_tokens) for u in usages] == [
        (once.usage.prompt_tokens, once.usage.completion_tokens)
    ]
    for event in events:
        assert msgspec.json.decode(event.raw)["object"] == "chat.completion.chunk"


async def test_raw_bytes_say_what_the_values_say(subject: Subject) -> None:
    """A client that reads the bytes sees the text that we counted."""
    sent = ""
    events = await events_of(subject, call(subject, streamed=True))
    for event in events:
        for choice in msgspec.json.decode(event.raw)["choices"]:
            sent += choice["delta"].get("content") or ""
    assert sent == text_of(events) == TEXT


async def freed(subject: Subject) -> None:
    """Until it is busy no more; fails where it would be for ever."""
    async with asyncio.timeout(PATIENCE_S):
        while subject.busy():  # noqa: ASYNC110 (the child's sockets can only be looked at)
            await asyncio.sleep(0.01)


async def test_closing_in_mid_stream_frees_the_upstream(subject: Subject) -> None:
    """It is busy no more, the answer is over, and the next one is answered."""
    assert not subject.busy()
    answer = subject.upstream.attempt(long_call(subject))
    assert await anext(answer)
    assert subject.busy() > 0
    await answer.aclose()
    await freed(subject)
    with pytest.raises(StopAsyncIteration):
        await anext(answer)
    assert text_of(await events_of(subject, call(subject, streamed=True))) == TEXT


async def test_leaving_before_the_first_event_frees_the_upstream(subject: Subject) -> None:
    """Once it is at work: who waits is cancelled, and the rest is as in mid-stream."""
    for _ in range(TRIES):
        assert not subject.busy()
        answer = subject.upstream.attempt(long_call(subject))
        waiting = asyncio.ensure_future(anext(answer))
        async with asyncio.timeout(PATIENCE_S):
            while not (subject.busy() or waiting.done()):  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await answer.aclose()
        await freed(subject)
        if waiting.cancelled():
            break
    assert waiting.cancelled(), "it never was at work without having said something"
    with pytest.raises(StopAsyncIteration):
        await anext(answer)
    assert text_of(await events_of(subject, call(subject, streamed=True))) == TEXT


async def test_attempts_run_side_by_side(subject: Subject) -> None:
    """Each has an answer of its own, streamed or not."""
    kinds = [True, False] * 4
    answers = await asyncio.gather(
        *(events_of(subject, call(subject, streamed=streamed)) for streamed in kinds)
    )
    assert [text_of(events) for events in answers] == [TEXT] * len(kinds)


async def test_counting_tokens(subject: Subject) -> None:
    """More text has no fewer tokens, none has none, and the same text always as many."""
    count = subject.upstream.count_tokens
    shorter, longer = await count(subject.model, "1 2"), await count(subject.model, "1 2 3 4 5")
    assert shorter is not None
    assert longer is not None
    assert 0 < shorter < longer
    assert await count(subject.model, "") == 0
    assert await count(subject.model, "1 2") == shorter


async def test_the_last_is_closing(subject: Subject) -> None:
    """Closing twice does no harm."""
    await subject.upstream.close()
    await subject.upstream.close()
