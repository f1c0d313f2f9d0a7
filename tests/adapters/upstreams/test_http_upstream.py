"""An upstream over a real socket, that answers well, badly, or not at all."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import chain, cycle

import msgspec
import pytest
from tests.support.openai_server import (
    CLOSE,
    PATIENCE_S,
    RESET,
    STALL,
    STREAM_HEAD,
    Answer,
    OpenAIServer,
    Request,
    Step,
    always,
    chunk,
    chunks,
    completion,
    data,
    delta,
    head,
    in_turn,
    refusing_url,
    stream,
    whole,
)

from ecluse.adapters.upstreams import http
from ecluse.adapters.upstreams.http import HttpUpstream
from ecluse.adapters.upstreams.session import open_session
from ecluse.domain.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ecluse.domain.values.answer import Event
from ecluse.domain.values.request import Call

SILENCE_S = 0.3
"""Where silence is what is tested; elsewhere nobody is silent for as long as PATIENT_S."""
PATIENT_S = 60.0
WHOLE = Call("m", b'{"model":"m"}', stream=False)
STREAM = Call("m", b'{"model":"m","stream":true}', stream=True)


@asynccontextmanager
async def upstream_at(url: str, **options: object) -> AsyncGenerator[HttpUpstream, None]:
    """An upstream with a session of its own, as the application makes it."""
    async with open_session() as session:
        yield HttpUpstream("u", url, session, **({"silence_s": PATIENT_S} | options))  # type: ignore[arg-type]


@asynccontextmanager
async def served(
    answer: Answer, **options: object
) -> AsyncGenerator[tuple[OpenAIServer, HttpUpstream], None]:
    """A scripted server and the upstream that asks it."""
    async with OpenAIServer(answer) as server, upstream_at(server.url, **options) as upstream:
        yield server, upstream


async def events_of(upstream: HttpUpstream, call: Call) -> list[Event]:
    """All events of one attempt."""
    async with aclosing(upstream.attempt(call)) as answer:
        return [event async for events in answer for event in events]


async def text_of(upstream: HttpUpstream, call: Call) -> str:
    """The joined text of one attempt."""
    return "".join(p.text for event in await events_of(upstream, call) for p in event.choices)


async def failure_of(answer: Answer, call: Call = WHOLE) -> UpstreamError:
    """The error of one attempt."""
    async with served(answer) as (_, upstream):
        with pytest.raises(UpstreamError) as caught:
            await events_of(upstream, call)
    return caught.value


async def test_a_whole_answer_is_its_bytes() -> None:
    """What came is passed on byte for byte; the request went where it should, with our key."""
    body = json.dumps(completion(vendor={"x": [1]}), indent=1).encode()
    async with served(always(*whole(body)), key="secret") as (server, upstream):
        (event,) = await events_of(upstream, WHOLE)
    (request,) = server.requests
    assert event.raw == body
    assert event.choices[0].text == "two words"
    assert (request.method, request.path, request.body) == (
        "POST",
        "/v1/chat/completions",
        WHOLE.body,
    )
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("ending", "paths"),
    [
        ("", ["/v1/chat/completions", "/v1/models", "/tokenize"]),
        ("//", ["/v1/chat/completions", "/v1/models", "/tokenize"]),
        (
            "/?a=1&b=%C3%A9",
            [
                f"{path}?a=1&b=%C3%A9"
                for path in ("/v1/chat/completions", "/v1/models", "/tokenize")
            ],
        ),
    ],
)
async def test_where_it_is_asked(ending: str, paths: list[str]) -> None:
    """Slashes at the end do not matter; a query, such as Azure's api-version, goes along."""
    async with OpenAIServer(always(*whole(completion(data=[], count=1)))) as server:
        async with upstream_at(server.url + ending) as upstream:
            await events_of(upstream, WHOLE)
            await upstream.offers()
            assert await upstream.count_tokens("m", "x") == 1
        assert [request.path for request in server.requests] == paths


async def test_without_a_key_none_is_sent() -> None:
    """No empty Authorization header either."""
    async with served(always(*whole(completion()))) as (server, upstream):
        await events_of(upstream, WHOLE)
    assert "authorization" not in server.requests[0].headers


async def test_a_stream_arrives_as_it_is_sent() -> None:
    """An event is there before the next one is sent, and the connection serves again."""
    words = ("a", "b", "c")
    read: list[str] = []

    def one_by_one(_: Request) -> Iterator[Step]:
        steps = iter(stream(*chunks(*words)))
        yield next(steps)
        for position in range(len(words)):
            while len(read) < position:
                yield 0.001
            yield next(steps)
        yield from steps

    async with served(one_by_one) as (server, upstream):
        async with asyncio.timeout(PATIENCE_S), aclosing(upstream.attempt(STREAM)) as answer:
            async for events in answer:
                read += [piece.text for event in events for piece in event.choices if piece.text]
        assert tuple(read) == words
        assert await text_of(upstream, STREAM) == "abc"
        assert server.connections == 1


@pytest.mark.parametrize(
    "ending",
    [
        [chunk(data(b"[DONE]")), chunk(b"")],
        [chunk(data(b"[DONE]")), STALL],
        [chunk(data(b"[DONE]")), CLOSE],
        [chunk(data(b"[DONE]")), RESET],
        [chunk(b"")],
        [chunk(b"data: [DONE]"), chunk(b"")],
    ],
    ids=["proper", "stalls", "cut", "reset", "no DONE", "no blank line"],
)
async def test_a_finished_stream_is_whole_however_it_ends(ending: list[Step]) -> None:
    """After the terminal chunk and [DONE], nothing the connection does matters."""
    sent = [chunk(data(delta("a"))), chunk(data(delta(None, "stop")))]
    async with served(always(STREAM_HEAD, *sent, *ending)) as (_, upstream):
        assert await text_of(upstream, STREAM) == "a"


async def test_a_terminal_chunk_without_a_blank_line_is_read() -> None:
    """Some servers close right after their last event."""
    last = data(delta("b", "stop")).rstrip()
    steps = [STREAM_HEAD, chunk(data(delta("a"))), chunk(last), chunk(b"")]
    async with served(always(*steps)) as (_, upstream):
        assert await text_of(upstream, STREAM) == "ab"


async def test_the_connection_is_kept_though_the_body_ends_a_moment_after_done() -> None:
    """Most servers send the two apart; on a busy machine some moments are too long."""
    *events, end = stream(*chunks("a"))
    async with served(always(*events, 0.001, end)) as (server, upstream):
        async with asyncio.timeout(PATIENCE_S):
            while server.connections == len(server.requests):
                await events_of(upstream, STREAM)


async def test_a_json_answer_to_a_stream_becomes_a_chunk() -> None:
    """An upstream that does not stream still gives a stream: delta, end, usage."""
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "hi", "tool_calls": calls, "vendor": 1}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    async with served(always(*whole(completion(choices=[choice])))) as (_, upstream):
        (event,) = await events_of(upstream, STREAM)
    told = msgspec.json.decode(event.raw)
    assert told["object"] == "chat.completion.chunk"
    assert "message" not in told["choices"][0]
    assert told["choices"][0]["finish_reason"] == "tool_calls"
    assert told["choices"][0]["delta"] == message | {"tool_calls": [calls[0] | {"index": 0}]}
    assert event.usage is not None
    assert event.usage.completion_tokens == 2


async def test_a_json_answer_to_a_stream_ends_it_even_when_it_does_not_say_so() -> None:
    """Its framing says that it is whole; clients wait for a terminal finish_reason."""
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": None}
    async with served(always(*whole(completion(choices=[choice])))) as (_, upstream):
        events = await events_of(upstream, STREAM)
    assert events[-1].choices[0].finish_reason == "stop"
    assert msgspec.json.decode(events[-1].raw)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("status", "another_may_do", "shown"),
    [
        (400, False, 400),
        (401, True, 502),
        (402, True, 402),
        (403, True, 502),
        (404, True, 404),
        (408, True, 408),
        (413, True, 413),
        (422, False, 422),
        (429, True, 429),
    ],
)
@pytest.mark.parametrize("call", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_refusals_are_passed_on(
    status: int, another_may_do: bool, shown: int, call: Call
) -> None:
    """The upstream's 4xx keeps status, reason, code and parameter; not where our key is meant."""
    told = {"message": "key sk-1234 no", "code": "bad", "param": "messages", "type": "t"}
    error = await failure_of(always(*whole({"error": told}, status)), call)
    assert isinstance(error, UpstreamRefused)
    assert (error.http_status, error.another_may_do) == (shown, another_may_do)
    if status in (401, 403):
        assert "sk-1234" not in str(error)
        assert str(status) in str(error)
        assert error.code == "upstream_refused"
        assert error.param is None
    else:
        assert error.message == "key sk-1234 no"
        assert (error.code, error.param) == ("bad", "messages")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": "context_length_exceeded"}},
        {"error": {"message": "no", "code": 400, "type": "exceed_context_size_error"}},
        {"message": "no", "code": "context_length_exceeded"},
    ],
)
async def test_a_too_long_prompt_has_one_name(body: object) -> None:
    """OpenAI's code, whatever the upstream calls it (llama.cpp puts it into the type)."""
    error = await failure_of(always(*whole(body, 400)))
    assert (error.message, error.code) == ("no", "context_length_exceeded")


@pytest.mark.parametrize("odd", [{}, [], 1, 1.5, True, None, "x"])
async def test_odd_members_of_an_error_do_no_harm(odd: object) -> None:
    """Code, type and parameter may be anything; what is not a text is left out."""
    told = {"message": "no", "code": odd, "type": odd, "param": odd}
    error = await failure_of(always(*whole({"error": told}, 400)))
    assert (error.code, error.param) == (("x", "x") if odd == "x" else ("upstream_refused", None))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 0 "}, 0),
        ({"retry_after": "99999999999999"}, 86_400),
        (
            {
                "retry_after": "Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30,
        ),
        (
            {
                "retry_after": "Wed, 21 Oct 2015 07:27:00 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            0,
        ),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "1.5"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(
    headers: dict[str, str], seconds: int | None, status: int
) -> None:
    """Seconds, or a date against the server's own."""
    error = await failure_of(always(*whole({"error": "busy"}, status, **headers)))
    assert error.retry_after_s == seconds


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_their_failure_is_ours_to_report(status: int) -> None:
    """A 5xx is a 502 with status and reason, and another deployment may do."""
    error = await failure_of(always(*whole({"error": {"message": "no memory"}}, status)))
    assert isinstance(error, UpstreamFailed)
    assert (error.http_status, error.another_may_do) == (502, True)
    assert str(status) in str(error)
    assert "no memory" in str(error)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308])
async def test_other_statuses_are_garbage_and_redirects_are_not_followed(status: int) -> None:
    """A redirect would carry our key and the prompt to somewhere else."""
    async with served(always(*whole(b"", status, location="/v1/elsewhere"))) as (server, upstream):
        with pytest.raises(UpstreamGarbage, match=str(status)):
            await events_of(upstream, WHOLE)
        assert len(server.requests) == 1


@pytest.mark.parametrize("call", [WHOLE, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "steps",
    [
        whole(b"<html>welcome</html>", content_type="text/html"),
        whole(b""),
        whole(b"null"),
        whole({"choices": "no"}),
        (b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE),
        (b"\x00\x01\x02\xff\xfe\r\n\r\n", CLOSE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", CLOSE),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000, CLOSE),
        (b"HTTP/1.1 99999 OK\r\n\r\n", CLOSE),
    ],
    ids=["html", "empty", "null", "wrong", "ssh", "binary", "length", "long header", "status"],
)
async def test_what_is_not_an_answer_is_garbage(steps: Sequence[Step], call: Call) -> None:
    """Web pages, other protocols, broken HTTP."""
    error = await failure_of(always(*steps), call)
    empty_stream = call is STREAM and isinstance(error, UpstreamTruncated)
    assert isinstance(error, UpstreamGarbage) or empty_stream
    assert error.another_may_do


async def test_a_web_page_is_none_in_a_stream_either() -> None:
    """To say that the stream was cut would send its reader astray."""
    page = whole(b"<html>welcome</html>", content_type="text/html")
    error = await failure_of(always(*page), STREAM)
    assert isinstance(error, UpstreamGarbage)
    assert "web page" in str(error)


@pytest.mark.parametrize("status", [400, 500])
async def test_an_error_page_is_cut(status: int) -> None:
    """An endless error body costs neither time nor memory."""
    page = [b"<h1>no</h1>" * 10_000] * 50
    async with asyncio.timeout(PATIENCE_S):
        error = await failure_of(always(head(status), *page, STALL))
    assert "<h1>no</h1>" in str(error)
    assert len(str(error)) < 3_000


async def test_a_refused_connection() -> None:
    """Nobody listens: told at once, with when to ask again."""
    async with refusing_url() as url, upstream_at(url) as upstream:
        with pytest.raises(UpstreamUnreachable) as caught:
            await events_of(upstream, WHOLE)
    assert caught.value.http_status == 503
    assert caught.value.retry_after_s


async def test_an_unknown_host() -> None:
    """A name that does not exist (RFC 6761 keeps .invalid free)."""
    async with upstream_at("http://nowhere.invalid/v1") as upstream:
        with pytest.raises(UpstreamUnreachable):
            await events_of(upstream, WHOLE)


@pytest.mark.parametrize("end", [CLOSE, RESET])
async def test_cut_before_headers(end: Step) -> None:
    """A connection that was made for the request had nothing to close it but the request."""
    async with served(always(end)) as (server, upstream):
        with pytest.raises(UpstreamUnreachable):
            await events_of(upstream, WHOLE)
        assert len(server.requests) == 1


@pytest.mark.parametrize("end", [CLOSE, RESET])
async def test_an_upstream_that_is_gone_is_asked_once_more(end: Step) -> None:
    """When the kept connection is closed; never a third time."""
    async with served(in_turn(whole(completion()), [end])) as (server, upstream):
        assert await events_of(upstream, WHOLE)
        with pytest.raises(UpstreamUnreachable):
            await events_of(upstream, WHOLE)
        assert len(server.requests) == 3


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    "answer", [whole(completion()), stream(*chunks("a"))], ids=["whole", "stream"]
)
async def test_a_closed_kept_alive_connection_is_not_noticed(
    end: Step, answer: Sequence[Step]
) -> None:
    """The server closes an idle connection just when the next request is sent."""
    script = in_turn(answer, [end], answer)
    call = STREAM if len(answer) > 1 else WHOLE
    async with served(script) as (server, upstream):
        assert await text_of(upstream, call)
        assert await text_of(upstream, call)
        assert len(server.requests) == 3
        assert server.connections == 2


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    "begun",
    [
        [head(content_type="application/json", content_length="1000"), b'{"choices":['],
        [head(content_type="application/json", transfer_encoding="chunked"), chunk(b"{")],
        [head(content_type="application/json", transfer_encoding="chunked"), b"ff\r\n{"],
    ],
    ids=["length", "chunked", "in a chunk"],
)
async def test_cut_in_the_body(begun: list[Step], end: Step) -> None:
    """A whole answer that stops before its end is truncated, and is not asked for again."""
    async with served(always(*begun, 0.02, end)) as (server, upstream):
        with pytest.raises(UpstreamTruncated):
            await events_of(upstream, WHOLE)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "ending",
    [
        [0.02, CLOSE],
        [0.02, RESET],
        [chunk(b"")],
        [chunk(data(delta("lost"))[:-9]), chunk(b"")],
    ],
    ids=["close", "reset", "proper HTTP", "in an event"],
)
async def test_cut_in_the_stream(ending: list[Step]) -> None:
    """What came is yielded, then the error comes: a truncated stream never looks whole."""
    script = always(STREAM_HEAD, chunk(data(delta("a"))), *ending)
    texts = []
    async with served(script) as (_, upstream), aclosing(upstream.attempt(STREAM)) as answer:
        with pytest.raises(UpstreamError) as caught:  # noqa: PT012
            async for events in answer:
                texts += [piece.text for event in events for piece in event.choices]
    assert texts == ["a"]
    assert isinstance(caught.value, UpstreamTruncated | UpstreamGarbage)
    assert caught.value.http_status == 502


async def test_broken_chunked_encoding_in_the_stream() -> None:
    """What is not HTTP any more breaks the answer off like any other cut."""
    error = await failure_of(
        always(STREAM_HEAD, chunk(data(delta("a"))), b"zz\r\nxx", CLOSE), STREAM
    )
    assert isinstance(error, UpstreamTruncated | UpstreamGarbage)


async def test_an_error_in_the_stream() -> None:
    """After some events, an error object: those before it are not lost, its reason is told."""
    together = data(delta("a")) + data({"error": {"message": "out of memory"}}) + data(delta("b"))
    script = always(STREAM_HEAD, chunk(together), chunk(b""))
    texts = []
    async with served(script) as (_, upstream), aclosing(upstream.attempt(STREAM)) as answer:
        with pytest.raises(UpstreamFailed, match="out of memory"):  # noqa: PT012
            async for events in answer:
                texts += [piece.text for event in events for piece in event.choices]
    assert texts == ["a"]


@pytest.mark.parametrize(
    ("steps", "call"),
    [
        ([STALL], WHOLE),
        ([STALL], STREAM),
        ([b"HTTP/1.1 200 OK\r\nContent-", STALL], WHOLE),
        ([head(content_length="10"), b"{", STALL], WHOLE),
        ([STREAM_HEAD, STALL], STREAM),
        ([STREAM_HEAD, chunk(data(delta("a"))), STALL], STREAM),
    ],
    ids=["headers", "stream's headers", "in headers", "body", "first chunk", "mid-stream"],
)
async def test_silence_is_not_waited_out(steps: list[Step], call: Call) -> None:
    """In every phase, a gap longer than the limit ends the attempt and closes the connection."""
    async with served(always(*steps), silence_s=SILENCE_S) as (server, upstream):
        started = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(UpstreamSilent) as caught:
                await events_of(upstream, call)
        assert time.monotonic() - started > SILENCE_S * 0.9
        await server.until(lambda s: s.open_connections == 0)
        assert len(server.requests) == 1
    assert caught.value.http_status == 504


async def test_a_slow_answer_is_not_a_silent_one() -> None:
    """The limit is for gaps: an answer may take longer in all."""
    answer = whole(completion("hi"))[0]
    third = len(answer) // 3
    pause, silence_s = 0.4, 1.0
    pieces = [pause, answer[:third], pause, answer[third:-third], pause, answer[-third:]]
    async with served(always(*pieces), silence_s=silence_s) as (_, upstream):
        assert await text_of(upstream, WHOLE) == "hi"


async def test_an_answer_over_the_limit() -> None:
    """A whole answer that goes on and on is garbage, long before memory is."""
    piece = b" " * 1_048_576
    pieces = [piece] * (http.MAX_ANSWER_BYTES // len(piece) + 2)
    error = await failure_of(always(head(content_type="application/json"), *pieces, STALL))
    assert isinstance(error, UpstreamGarbage)
    assert str(http.MAX_ANSWER_BYTES) in str(error)


async def test_a_small_body_that_would_unpack_to_a_large_one() -> None:
    """We ask for no compression; one that comes all the same is bounded by what it unpacks to."""
    bomb = gzip.compress(b" " * (http.MAX_ANSWER_BYTES + 1_000_000))
    async with served(always(*whole(bomb, content_encoding="gzip"))) as (server, upstream):
        with pytest.raises(UpstreamGarbage):
            await events_of(upstream, WHOLE)
        assert server.requests[0].headers["accept-encoding"] == "identity"


def endless(_: Request) -> Iterator[Step]:
    """A stream that never ends."""
    return chain((STREAM_HEAD,), cycle((chunk(data(delta("a"))), 0.01)))


@pytest.mark.parametrize(
    ("answer", "least_read"),
    [
        (always(STALL), 0),
        (always(STREAM_HEAD, STALL), 0),
        (always(STREAM_HEAD, chunk(data(delta("a"))), STALL), 1),
        (endless, 3),
    ],
    ids=["headers", "first chunk", "mid-stream, silent", "mid-stream, busy"],
)
async def test_leaving_frees_the_upstream(answer: Answer, least_read: int) -> None:
    """Whoever reads is cancelled, as when a client leaves: the server sees it."""
    read = 0

    async def read_on() -> None:
        nonlocal read
        async with aclosing(upstream.attempt(STREAM)) as events:
            async for _ in events:
                read += 1

    async with served(answer) as (server, upstream):
        reading = asyncio.create_task(read_on())
        await server.until(lambda s: len(s.requests) == 1)
        async with asyncio.timeout(PATIENCE_S):
            while read < least_read:  # noqa: ASYNC110 (the reader tells nobody)
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)  # most likely it waits for the first chunk then
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()
        await server.until(lambda s: s.open_connections == 0)


async def test_closing_the_generator_frees_the_upstream() -> None:
    """The same between two events, without any cancellation."""
    async with served(endless) as (server, upstream):
        answer = upstream.attempt(STREAM)
        await anext(answer)
        await answer.aclose()
        await server.until(lambda s: s.open_connections == 0)


async def test_what_it_serves() -> None:
    """Names and contexts under the names that servers give them; nonsense is unknown."""
    models = [
        {"id": "plain"},
        {"id": "vllm", "max_model_len": 10},
        {"id": "llama", "meta": {"n_ctx": 20, "n_params": 7}},
        {"id": "router", "context_length": 30},
        {"id": "odd", "context_window": "many", "max_context_length": -1, "meta": None},
    ]
    async with served(always(*whole({"data": models}))) as (server, upstream):
        offers = await upstream.offers()
    told = [(o.upstream_model, o.context_tokens, o.parameters) for o in offers]
    assert told == [
        ("plain", None, None),
        ("vllm", 10, None),
        ("llama", 20, 7),
        ("router", 30, None),
        ("odd", None, None),
    ]
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/v1/models")


async def test_names_that_would_break_a_header_are_left_out() -> None:
    """They could not be told in an answer's headers, which are sent once it is paid for."""
    names = ["fine", "a b/é:1", "", "x\r\nset-cookie: y", "nul\0", "\x85", "\u2028"]
    async with served(always(*whole({"data": [{"id": name} for name in names]}))) as (_, upstream):
        offers = await upstream.offers()
    assert [offer.upstream_model for offer in offers] == ["fine", "a b/é:1"]


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (whole(b"<html>"), UpstreamGarbage),
        (whole({"data": [{"name": "no id"}]}), UpstreamGarbage),
        (whole({"error": "no"}, 401), UpstreamRefused),
        (whole({"error": "no"}, 500), UpstreamFailed),
        ([b" " * 1_000_000] * 6, UpstreamGarbage),
        ([CLOSE], UpstreamUnreachable),
    ],
)
async def test_what_it_serves_cannot_be_read(
    steps: Sequence[Step], kind: type[UpstreamError]
) -> None:
    """Every failure is one of ours."""
    steps = [head(content_type="application/json"), *steps, CLOSE] if len(steps) > 1 else steps
    async with served(always(*steps)) as (_, upstream):
        with pytest.raises(kind):
            await upstream.offers()


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"tokens": [1, 2, 3]}, 3),
        ({"tokens": [{"id": 1, "piece": "a"}]}, 1),
        ({"count": 4, "tokens": [1, 2, 3, 4]}, 4),
        ({"count": -1}, None),
        ({"count": 10**18}, None),
        ({"count": "many"}, None),
        ({}, None),
        (b"<html>", None),
    ],
)
async def test_counting(body: object, count: int | None) -> None:
    """Both kinds of servers are understood; nonsense is not believed."""
    async with served(always(*whole(body))) as (server, upstream):
        assert await upstream.count_tokens("m", "one two") == count
        assert server.requests[0].path == "/tokenize"
        assert server.requests[0].json() == {
            "model": "m",
            "prompt": "one two",
            "content": "one two",
        }


async def test_who_cannot_count_is_asked_once() -> None:
    """A 404 is remembered; a server that is busy or away may count the next time."""
    no, busy, yes = whole({}, 404), whole({}, 503), whole({"count": 1})
    async with served(in_turn([CLOSE], busy, yes, no, yes)) as (server, upstream):
        counts = [await upstream.count_tokens("m", "x") for _ in range(5)]
        assert counts == [None, None, 1, None, None]
        assert len(server.requests) == 4


async def test_who_has_no_tokenizer_is_never_asked() -> None:
    """A paid API would take the question for an attack."""
    async with served(always(*whole({"count": 1})), has_tokenizer=False) as (server, upstream):
        assert await upstream.count_tokens("m", "x") is None
        assert server.requests == []
