"""The embedded engine as an upstream: what it promises, and what becomes of it in trouble.

What every upstream has to do is in the contract's tests.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest

from ecluse.adapters.upstreams.llama_cpp.engine import EngineSettings
from ecluse.adapters.upstreams.llama_cpp.gguf import read_facts
from ecluse.adapters.upstreams.llama_cpp.upstream import LlamaCppUpstream
from ecluse.adapters.upstreams.session import open_session
from ecluse.demonstration import ladder
from ecluse.domain.errors import UpstreamError, UpstreamRefused, UpstreamUnreachable
from ecluse.domain.values.answer import Event, Events
from ecluse.domain.values.request import Call

RUNG = ladder.rungs()[0]
SETTINGS = EngineSettings(RUNG.path, "tiny", RUNG.context_tokens, parallel=3, threads=1)
PATIENCE_S = 60.0


@asynccontextmanager
async def embedded(settings: EngineSettings) -> AsyncIterator[LlamaCppUpstream]:
    """An upstream whose engine has not been started."""
    async with open_session() as session:
        upstream = LlamaCppUpstream("here", settings, read_facts(settings.file), session, 20.0)
        try:
            yield upstream
        finally:
            await upstream.close()


@pytest.fixture
async def upstream() -> AsyncIterator[LlamaCppUpstream]:
    """The smallest model, for three requests at once."""
    async with embedded(SETTINGS) as made:
        yield made


def call(text: str, *, streamed: bool = True, **more: object) -> Call:
    """A question."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "stream": streamed,
        "stream_options": {"include_usage": True} if streamed else None,
    }
    return Call("tiny", msgspec.json.encode(body | more), streamed, (text,))


async def events_of(upstream: LlamaCppUpstream, asked: Call) -> list[Event]:
    """All events of one attempt."""
    async with aclosing(upstream.attempt(asked)) as answer:
        return [event async for events in answer for event in events]


async def test_offers_need_no_engine(upstream: LlamaCppUpstream) -> None:
    """What is served is read from the file; nothing is started to say it."""
    (offer,) = await upstream.offers()
    assert offer.upstream_model == "tiny"
    assert offer.context_tokens == RUNG.context_tokens
    assert offer.parameters == RUNG.parameters
    assert offer.longest_token_bytes == len(" thousand")
    assert (offer.gives_logprobs, offer.accepts_images) == (True, False)
    assert upstream.engine.pid is None


async def test_no_more_context_is_promised_than_the_model_has() -> None:
    """A configuration may ask for more than the model was made for; the engine gives its own."""
    settings = msgspec.structs.replace(SETTINGS, context_tokens=10 * RUNG.context_tokens)
    async with embedded(settings) as upstream:
        (offer,) = await upstream.offers()
        assert offer.context_tokens == RUNG.context_tokens
        with pytest.raises(UpstreamRefused):
            await events_of(upstream, call("1" * (RUNG.context_tokens + 1)))


async def test_each_of_the_parallel_requests_has_the_whole_context(
    upstream: LlamaCppUpstream,
) -> None:
    """As many requests as there are slots fill their context to the last token, at once."""
    length = RUNG.context_tokens // 2
    asked = call("1" * length, ignore_eos=True, max_tokens=RUNG.context_tokens)
    answers = await asyncio.gather(*(events_of(upstream, asked) for _ in range(3)))
    for events in answers:
        (usage,) = [event.usage for event in events if event.usage is not None]
        assert usage.prompt_tokens > length
        assert usage.prompt_tokens + usage.completion_tokens == RUNG.context_tokens


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_prompt_that_is_too_long(upstream: LlamaCppUpstream, streamed: bool) -> None:
    """It is refused with the code that clients know, and the engine goes on answering."""
    with pytest.raises(UpstreamRefused) as refused:
        await events_of(upstream, call("1" * 1_000, streamed=streamed))
    assert refused.value.http_status == 400
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.another_may_do  # one with a larger context
    assert await events_of(upstream, call("add 1 2"))


async def read_to_the_end(answer: AsyncGenerator[Events, None]) -> None:
    """Read what is left of an answer."""
    async for _ in answer:
        pass


async def test_an_answer_that_was_left_is_generated_no_further(upstream: LlamaCppUpstream) -> None:
    """Leaving five of them after their first token takes much less work than reading them."""
    asked = call("sort 3 1 2 4", ignore_eos=True, max_tokens=600)
    engine = upstream.engine
    await events_of(upstream, asked)

    async def work_of(*, reading: bool) -> float:
        before = engine.cpu_seconds()
        for _ in range(5):
            async with aclosing(upstream.attempt(asked)) as answer:
                assert await anext(answer)
                if reading:
                    await read_to_the_end(answer)
        await events_of(upstream, call("add 1 2"))
        return engine.cpu_seconds() - before

    # How soon we leave depends on how busy the machine is: the least of some counts.
    left = min([await work_of(reading=False) for _ in range(3)])
    assert left < await work_of(reading=True) / 2


async def test_after_a_crash_it_speaks_to_the_new_child(upstream: LlamaCppUpstream) -> None:
    """In mid-answer a kill -9 is an error of the upstream; the next attempt is answered."""
    first = await upstream.engine.address()
    async with aclosing(upstream.attempt(call("1", ignore_eos=True, max_tokens=200))) as answer:
        assert await anext(answer)
        assert upstream.engine.pid is not None
        os.kill(upstream.engine.pid, signal.SIGKILL)
        with pytest.raises(UpstreamError):
            await read_to_the_end(answer)
    async with asyncio.timeout(PATIENCE_S):
        while upstream.engine.pid is not None:  # noqa: ASYNC110 - nothing tells of another process
            await asyncio.sleep(0.01)
    assert await events_of(upstream, call("add 1 2"))
    assert await upstream.engine.address() != first


async def test_tokens_are_those_of_the_text_alone(upstream: LlamaCppUpstream) -> None:
    """Merged where the vocabulary has the word, bytes where not; none is the chat template's."""
    assert await upstream.count_tokens("tiny", "sort") == 1
    assert await upstream.count_tokens("tiny", " thousand") == 1
    assert await upstream.count_tokens("tiny", "sort 3 1 2") == 4
    assert await upstream.count_tokens("tiny", "345") == 3
    assert await upstream.count_tokens("tiny", "\u00e9") == 2


async def test_a_stopped_engine_counts_and_answers_nothing(upstream: LlamaCppUpstream) -> None:
    """After the close no child is started for a late caller."""
    await upstream.close()
    assert await upstream.count_tokens("tiny", "1") is None
    with pytest.raises(UpstreamUnreachable):
        await events_of(upstream, call("1"))
    assert upstream.engine.pid is None
