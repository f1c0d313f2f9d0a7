"""What the gateway does about deployments that fail, are slow, or say too little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.house import (
    AWAY,
    BAD_REQUEST,
    BROKE_OFF,
    JUDGED,
    SURE,
    UNSURE,
    House,
    asked,
    outcomes,
    server,
    text_of,
)

from ecluse.adapters.upstreams.scripted import ScriptedUpstream
from ecluse.domain.catalog.deployments import Acceptance, Patience
from ecluse.domain.errors import (
    DeadlinePassed,
    NothingAlive,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
)
from ecluse.domain.values.answer import Outcome, Progress
from ecluse.runtime.endurance import EnduranceSettings

COUNTING = "one two three four five six seven"
HASTY = Patience(first_token_s=0.05, between_tokens_s=0.05, whole_answer_s=0.05)
AGES_S = 30.0


def breaking(after: int, **script: object) -> ScriptedUpstream:
    """One that breaks off after so many words."""
    return server(COUNTING, failure=BROKE_OFF, failure_after=after, continues=True, **script)


def going_on(**script: object) -> ScriptedUpstream:
    """One that can go on with what another began."""
    return server(COUNTING, continues=True, **script)


def ends(told: Sequence[Progress]) -> list[str]:
    """Every finish_reason that reached the client."""
    return [p.finish_reason for t in told for e in t.events for p in e.choices if p.finish_reason]


async def test_another_deployment_goes_on_with_the_answer() -> None:
    """The client has one text, one end and the usage of one answer; the books have both."""
    first, second = breaking(3), going_on()
    house = House([first, second])
    told = await house.ask(asked(stream_options={"include_usage": True}))
    assert text_of(told) == COUNTING
    assert ends(told) == ["stop"]
    assert told[-1].attempts == 2
    (usage,) = [e.usage for t in told for e in t.events if e.usage is not None]
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 7)
    sent = json.loads(second.calls[0].body)["messages"]
    assert sent[-1] == {"role": "assistant", "content": "one two three"}
    assert outcomes(await house.records()) == [
        ("place0a/model0", Outcome.FAILED),
        ("place0b/model0", Outcome.ANSWERED),
    ]


async def test_all_chunks_belong_to_one_answer() -> None:
    """Whoever writes them, their id is the first one's."""
    house = House([breaking(2), going_on()])
    told = await house.ask(asked())
    raws = [json.loads(event.raw) for progress in told for event in progress.events]
    assert len({raw["id"] for raw in raws}) == 1
    assert sum("role" in raw["choices"][0]["delta"] for raw in raws if raw["choices"]) == 1


async def test_a_stall_is_a_failure_too() -> None:
    """After the limit between two tokens another deployment goes on."""
    stalling = server(COUNTING, continues=True, piece_s=AGES_S)
    house = House([stalling, going_on()], patience=HASTY)
    assert text_of(await house.ask(asked())) == COUNTING
    assert stalling.open_attempts == 0
    assert (await house.records())[0].error_code == UpstreamSilent.code


async def test_it_may_break_off_again_and_again() -> None:
    """As long as somebody is left to go on, and in the end whoever began, should it be back."""
    house = House([breaking(2), breaking(1), breaking(1), going_on()])
    assert text_of(await house.ask(asked())) == COUNTING
    alone = breaking(6)
    house = House([alone])
    assert text_of(await house.ask(asked())) == COUNTING
    assert len(alone.calls) == 2


@pytest.mark.parametrize(
    "request_fields",
    [
        {"response_format": {"type": "json_object"}},
        {"n": 2},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    ],
)
async def test_where_nobody_can_go_on_it_fails_visibly(request_fields: dict[str, Any]) -> None:
    """An answer bound to a schema, or several at once, cannot be continued."""
    second = going_on()
    house = House([breaking(2), second])
    told: list[Progress] = []
    with pytest.raises(UpstreamTruncated):
        await house.ask_into(told, asked(**request_fields))
    # Of two choices each says its first word.
    assert text_of(told) == ("one one " if "n" in request_fields else "one two ")
    assert not second.calls


async def test_what_has_just_stalled_is_not_asked_while_another_comes_back() -> None:
    """The other one is let through again in a moment; going back would cost the whole limit."""
    dying, stalling = breaking(1), server(COUNTING, continues=True, piece_s=AGES_S)
    house = House([dying, stalling], patience=HASTY, real_time=True)
    for _ in range(2):  # with the failure of the answer itself its breaker opens
        house.breakers.ended(house.deployments[0], AWAY)
    told: list[Progress] = []
    async with asyncio.timeout(10), aclosing(house.answer(asked())) as answer:
        told.append(await anext(answer))
        dying._script = going_on()._script
        told += [progress async for progress in answer]
    assert text_of(told) == COUNTING
    assert len(stalling.calls) == 1


async def test_only_those_that_can_go_on_are_asked_to() -> None:
    """A deployment that would begin anew is left out."""
    cannot, can = server(COUNTING), going_on()
    house = House([breaking(3), cannot, can])
    assert text_of(await house.ask(asked())) == COUNTING
    assert not cannot.calls


async def test_what_is_said_again_may_differ() -> None:
    """Then the text is gone on with exactly where it ended: nothing is lost or repeated."""

    class Otherwise(ScriptedUpstream):
        """Goes on with other words unless it is given the whole of what was said."""

        async def attempt(self, call):  # type: ignore[no-untyped-def]
            given = json.loads(call.body)["messages"][-1]["content"]
            self._script = server(
                given + ("4" if given.endswith("three ") else ", other"), continues=True
            )._script
            async for events in super().attempt(call):
                yield events

    house = House([breaking(3), Otherwise("theirs", going_on()._script)])
    told = await house.ask(asked())
    assert text_of(told) == "one two three 4"
    assert [record.outcome for record in await house.records()][1:] == [
        Outcome.ABANDONED,
        Outcome.ANSWERED,
    ]


@given(
    lengths=st.lists(st.integers(1, 6), min_size=0, max_size=3),
    words=st.lists(st.sampled_from(["a", "bc", "d.", "é", "the"]), min_size=7, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_wherever_it_breaks_the_text_is_whole(lengths: list[int], words: list[str]) -> None:
    """No gap, no repeat, one end."""
    reply = " ".join(words)

    async def go() -> list[Progress]:
        servers = [
            server(reply, failure=BROKE_OFF, failure_after=length, continues=True)
            for length in lengths
        ]
        return await House([*servers, server(reply, continues=True)]).ask(asked())

    told = asyncio.run(go())
    assert text_of(told) == reply
    assert ends(told) == ["stop"]


async def test_a_slow_first_token_is_hedged() -> None:
    """The second deployment answers; the first is closed at once and booked as outrun."""
    slow, quick = server("slow", delay_s=AGES_S), server("quick")
    house = House([slow, quick], endurance=EnduranceSettings(0, 0.02, 1.0))
    told = await house.ask(asked())
    assert text_of(told) == "quick"
    assert told[-1].attempts == 2
    assert slow.open_attempts == 0
    records = {r.deployment: r.outcome for r in await house.records()}
    assert records == {
        "place0a/model0": Outcome.OUTRUN,
        "place0b/model0": Outcome.ANSWERED,
    }


async def test_an_answer_that_is_not_streamed_is_not_hedged() -> None:
    """It always takes long until it is there."""
    slow, spare = server("slow", delay_s=0.05), server("spare")
    house = House([slow, spare], endurance=EnduranceSettings(0, 0.01, 1.0))
    assert text_of(await house.ask(asked(stream=False))) == "slow"
    assert not spare.calls


async def test_hedges_keep_to_their_budget() -> None:
    """With a tenth of the requests allowed, twenty slow ones get two hedges."""
    slow, spare = server("slow", delay_s=0.03), server("spare")
    house = House([slow, spare], endurance=EnduranceSettings(0, 0.005, 0.1))
    for _ in range(20):
        await house.ask(asked())
    assert len(spare.calls) == 2


async def test_a_request_is_tried_again() -> None:
    """When everybody failed, after a pause, until somebody answers."""

    class Recovering(ScriptedUpstream):
        async def attempt(self, call):  # type: ignore[no-untyped-def]
            if len(self.calls) == 2:
                self._script = server("back again")._script
            async for events in super().attempt(call):
                yield events

    house = House(
        [Recovering("theirs", server(failure=AWAY)._script)], endurance=EnduranceSettings(5.0)
    )
    told = await house.ask(asked())
    assert text_of(told) == "back again"
    assert told[-1].attempts == 3


async def test_a_breaker_spares_what_is_down() -> None:
    """After some failures in a row nobody waits for it any more."""
    down, up = server(failure=AWAY), server("up")
    house = House([down, up])
    for _ in range(10):
        assert text_of(await house.ask(asked())) == "up"
    assert len(down.calls) == 3


async def test_a_deployment_is_back_as_soon_as_it_begins_to_answer() -> None:
    """The one request that is let through to see need not end before others may follow."""
    only = server(failure=AWAY)
    house = House([only], real_time=True)
    for _ in range(3):
        with pytest.raises(UpstreamError):
            await house.ask(asked())
    assert house.breakers.open_now()
    only._script = server("one two", piece_s=AGES_S)._script
    async with asyncio.timeout(10):
        while house.breakers.wait_s(house.deployments) > 0:  # noqa: ASYNC110 (nothing tells of time)
            await asyncio.sleep(0.01)
        async with aclosing(house.answer(asked())) as probe:
            assert text_of([await anext(probe)]) == "one "
            async with aclosing(house.answer(asked())) as other:
                assert text_of([await anext(other)]) == "one "


async def test_to_begin_well_and_break_off_opens_a_breaker_too() -> None:
    """Else a deployment that always dies in mid-answer would be asked for ever."""
    only = server("one two three", failure=BROKE_OFF, failure_after=1)
    house = House([only])
    for _ in range(3):
        with pytest.raises(UpstreamTruncated):
            await house.ask(asked())
    assert house.breakers.open_now()


async def test_when_all_are_down_it_says_when_to_come_back() -> None:
    """A true HTTP error with Retry-After, and nobody is asked."""
    down = server(failure=AWAY)
    house = House([down])
    for _ in range(3):
        with pytest.raises(UpstreamError):
            await house.ask(asked())
    with pytest.raises(NothingAlive) as refused:
        await house.ask(asked())
    assert refused.value.retry_after_s
    assert len(down.calls) == 3


async def test_one_tenants_bad_requests_open_no_breaker() -> None:
    """What a client does wrong says nothing against the deployment."""
    only = server(failure=BAD_REQUEST)
    house = House([only])
    for _ in range(20):
        with pytest.raises(UpstreamRefused):
            await house.ask(asked())
    assert len(only.calls) == 20


async def test_busy_is_passed_on_without_asking_again() -> None:
    """A 429 with Retry-After is honoured for every request to that deployment."""
    busy = server(failure=UpstreamRefused("Slow down.", upstream_status=429, retry_after_s=7))
    house = House([busy])
    for _ in range(3):
        with pytest.raises(UpstreamRefused) as refused:
            await house.ask(asked())
        assert refused.value.http_status == 429
        assert 1 <= (refused.value.retry_after_s or 0) <= 7
    assert len(busy.calls) == 1


@pytest.mark.parametrize("failures", [(AWAY, UpstreamFailed("x")), (BROKE_OFF, AWAY)])
async def test_two_failures_before_anything_was_told_are_an_error(
    failures: tuple[UpstreamError, UpstreamError],
) -> None:
    """The last one's own."""
    house = House([server(failure=failures[0])], [server(failure=failures[1])])
    with pytest.raises(type(failures[1])):
        await house.ask(asked())


async def test_a_deadline_that_has_passed() -> None:
    """Nobody is asked."""
    only = server()
    house = House([only])
    with pytest.raises(DeadlinePassed):
        await house.ask(asked(answer_by_us=house.clock.unix_us() - 1))
    assert not only.calls


async def test_a_deadline_ends_the_wait_for_a_beginning() -> None:
    """Even where the deployment has more patience; that is no failure of the deployment."""
    slow = server(delay_s=AGES_S)
    house = House([slow, going_on()], real_time=True)
    with pytest.raises(DeadlinePassed):
        await house.ask(asked(answer_by_us=house.clock.unix_us() + 50_000))
    assert slow.open_attempts == 0
    assert not house.breakers.open_now()


async def test_a_stream_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is longer than any answer: visibly, and what it used is counted."""
    monkeypatch.setattr("ecluse.runtime.attempts.ANSWER_BYTES_AT_MOST", 2_000)
    house = House([server("word " * 100)])
    told: list[Progress] = []
    with pytest.raises(UpstreamGarbage):
        await house.ask_into(told, asked())
    assert text_of(told).startswith("word word")
    (record,) = await house.records()
    assert record.usage.completion_tokens > 0


async def test_a_stream_is_committed_early() -> None:
    """After enough sure tokens, long before it is whole."""
    long = server(COUNTING, least_logprob=SURE, piece_s=AGES_S)
    acceptance = Acceptance(JUDGED.least_logprob, commit_after_tokens=1)
    house = House([long], [server("large")], acceptance=acceptance)
    async with asyncio.timeout(5), aclosing(house.answer(asked())) as answer:
        assert text_of([await anext(answer)]) == "one "


async def test_an_answer_under_another_name_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer goes out, named for the model that was asked; the operator learns of it."""

    class Impostor(ScriptedUpstream):
        async def attempt(self, call):  # type: ignore[no-untyped-def]
            self._model = "something-else"
            async for events in super().attempt(call):
                yield events

    house = House([Impostor("theirs", server("hello")._script)])
    for _ in range(3):
        told = await house.ask(asked())
        assert (text_of(told), told[-1].model) == ("hello", "model0")
    (line,) = caplog.messages
    assert "'theirs'" in line
    assert "'something-else'" in line


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("reply", "suffices"),
    [('{"a": 1}', True), ('{"a": "x"}', False), ('{"a": 1', False), ("sure", False)],
)
async def test_an_answer_must_fit_its_schema(stream: bool, reply: str, suffices: bool) -> None:
    """However sure the model is of it; and it is held until that is known."""
    acceptance = Acceptance(JUDGED.least_logprob, commit_after_tokens=1)
    small = server(reply, least_logprob=SURE)
    house = House([small], [server("large")], acceptance=acceptance)
    told = await house.ask(asked(stream=stream, response_format=AS_SCHEMA))
    assert text_of(told) == (reply if suffices else "large")


@pytest.mark.parametrize(("rule", "answers"), [("accept", "small"), ("rise", "large")])
async def test_without_log_probabilities_the_rule_decides(rule: Any, answers: str) -> None:
    """And where it says rise, a deployment known to give none is not even asked."""
    small = server("small")
    acceptance = Acceptance(JUDGED.least_logprob, without_logprobs=rule)
    house = House(
        [small], [server("large")], acceptance=acceptance, offer={"gives_logprobs": False}
    )
    assert text_of(await house.ask(asked())) == answers
    assert len(small.calls) == (rule == "accept")
    assert not any("logprobs" in json.loads(call.body) for call in small.calls)


async def test_log_probabilities_that_are_refused_cost_only_the_stage() -> None:
    """The client never asked for them, so it is not told of the refusal."""
    refusal = UpstreamRefused("logprobs is not supported with tools", upstream_status=400)
    house = House([server(failure=refusal)], [server("large")])
    assert text_of(await house.ask(asked())) == "large"


async def test_what_is_too_long_for_the_small_may_fit_the_large() -> None:
    """A context that turns out too short is no error of the request while another may do."""
    too_long = UpstreamRefused("No.", upstream_status=400, code="context_length_exceeded")
    house = House([server(failure=too_long)], [server("large")])
    assert text_of(await house.ask(asked())) == "large"
    house = House([server(failure=too_long)], [server(failure=too_long)])
    with pytest.raises(UpstreamRefused) as refused:
        await house.ask(asked())
    assert refused.value.code == "context_length_exceeded"


async def test_usage_of_a_rise_is_the_accepted_answers() -> None:
    """The client sees one answer's tokens; the books have every attempt."""
    house = House([server("weak words here", least_logprob=UNSURE)], [server("large")])
    told = await house.ask(asked(stream_options={"include_usage": True}))
    usages = [event.usage for progress in told for event in progress.events if event.usage]
    assert [usage.completion_tokens for usage in usages] == [1]
    assert len(await house.records()) == 2
