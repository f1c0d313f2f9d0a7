"""The path of a request: the least model that is good enough answers, and every attempt counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.house import (
    AGES_S,
    AWAY,
    BAD_KEY,
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

from ecluse.adapters.upstreams.scripted import Script, ScriptedUpstream
from ecluse.domain.catalog.deployments import Acceptance
from ecluse.domain.errors import (
    CannotCount,
    EcluseError,
    UnknownRoute,
    UpstreamError,
    UpstreamRefused,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ecluse.domain.ledger.attempt_record import AttemptRecord
from ecluse.domain.values.answer import Events, Outcome, Progress
from ecluse.domain.values.money import Money
from ecluse.domain.values.request import Call
from ecluse.domain.values.usage import Usage


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_recorded_whole(stream: bool) -> None:
    """One attempt: who, what, how long, which tokens, what price."""
    only = server("one two")
    house = House([only])
    told = await house.ask(asked(stream=stream))
    assert text_of(told) == "one two"
    assert {(p.model, p.attempts, p.strip_logprobs) for p in told} == {("model0", 1, False)}
    assert len(told) == (3 if stream else 1)
    (record,) = await house.records()
    assert record.request_id == "request"
    assert record.key_id == "key"
    assert (record.route, record.model, record.deployment) == ("auto", "model0", "place0a/model0")
    assert (record.stage, record.streamed) == (0, stream)
    assert record.started_at_us == 1_700_000_000_000_000
    assert (record.first_event_us, record.duration_us) == (1_000, 3_000)
    assert (record.outcome, record.finish_reason) == (Outcome.ANSWERED, "stop")
    assert record.error_code is None
    assert record.usage == Usage(3, 2)
    assert record.price == Money(23, "EUR")


async def test_an_unjudged_stream_is_not_held() -> None:
    """The first word is there long before the last one."""
    house = House([server("one two", piece_s=AGES_S)])
    async with asyncio.timeout(5), aclosing(house.answer(asked())) as answer:
        progress = await anext(answer)
    assert text_of([progress]) == "one "


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_judged_answer_that_is_good_enough(stream: bool, wanted: bool) -> None:
    """The least model's, all at once when it is whole; the larger one is never asked."""
    small, large = server("small one", least_logprob=SURE), server("large")
    house = House([small], [large])
    (progress,) = await house.ask(asked(stream=stream, logprobs=wanted))
    assert text_of([progress]) == "small one"
    assert (progress.model, progress.attempts) == ("model0", 1)
    assert progress.strip_logprobs is not wanted
    assert json.loads(small.calls[0].body)["logprobs"] is True
    assert not large.calls
    assert outcomes(await house.records()) == [("place0a/model0", Outcome.ANSWERED)]


async def test_a_weak_stream_is_left_at_its_first_weak_word() -> None:
    """The larger model is asked at once, and what the weak answer used is counted."""
    small = server("bad answer", least_logprob=UNSURE, piece_s=AGES_S)
    large = server("large one", least_logprob=UNSURE)
    house = House([small], [large])
    told = await house.ask(asked())
    assert text_of(told) == "large one"
    assert {(p.model, p.attempts, p.strip_logprobs) for p in told} == {("model1", 2, False)}
    assert "logprobs" not in json.loads(large.calls[0].body)
    assert small.open_attempts == 0
    records = await house.records()
    by_model = {record.model: record for record in records}
    assert len(records) == 2
    assert by_model["model0"].outcome is Outcome.OUTDONE
    assert by_model["model0"].usage == Usage(3, 1, source="tokenizer")
    assert by_model["model0"].price == Money(13, "EUR")
    assert by_model["model0"].finish_reason is None
    assert by_model["model1"].outcome is Outcome.ANSWERED
    assert (by_model["model0"].stage, by_model["model1"].stage) == (0, 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_without_evidence_it_rises(stream: bool) -> None:
    """An upstream that gives no log-probabilities is judged at its end; usage is as reported."""
    house = House([server("small")], [server("large")])
    assert text_of(await house.ask(asked(stream=stream))) == "large"
    small, large = await house.records()
    assert outcomes([small, large]) == [
        ("place0a/model0", Outcome.OUTDONE),
        ("place1a/model1", Outcome.ANSWERED),
    ]
    assert small.usage == Usage(3, 1)
    assert small.finish_reason == "stop"


async def test_a_weak_model_is_not_asked_again_elsewhere() -> None:
    """The same model at another place would be as unsure."""
    twin = server("twin", least_logprob=SURE)
    house = House([server("weak", least_logprob=UNSURE), twin], [server("large")])
    assert text_of(await house.ask(asked())) == "large"
    assert not twin.calls


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("failure", [AWAY, BROKE_OFF, BAD_KEY])
async def test_another_place_answers(stream: bool, failure: UpstreamError) -> None:
    """Before anything was committed, the client notices nothing; the failure is on the books."""
    house = House([server(failure=failure), server("from the second")])
    told = await house.ask(asked(stream=stream))
    assert text_of(told) == "from the second"
    assert {progress.attempts for progress in told} == {2}
    first, second = await house.records()
    assert outcomes([first, second]) == [
        ("place0a/model0", Outcome.FAILED),
        ("place0b/model0", Outcome.ANSWERED),
    ]
    assert first.error_code == failure.code
    read = failure is BROKE_OFF  # whoever breaks off in the middle has worked on the prompt
    assert first.usage == (Usage(3, 0, source="tokenizer") if read else Usage(0, 0))
    assert first.price == Money(3 if read else 0, "EUR")


async def test_what_was_held_is_dropped_when_it_breaks() -> None:
    """A judged answer that breaks off in the middle is another's to give, and is paid for."""
    breaking = server("one two three", least_logprob=SURE, failure=BROKE_OFF, failure_after=2)
    house = House([breaking, server("whole", least_logprob=SURE)], [server("large")])
    assert text_of(await house.ask(asked())) == "whole"
    records = {record.deployment: record for record in await house.records()}
    assert records["place0a/model0"].outcome is Outcome.FAILED
    assert records["place0a/model0"].usage == Usage(3, 2, source="tokenizer")


async def test_a_stage_that_fails_altogether_gives_way() -> None:
    """The next model answers."""
    house = House([server(failure=AWAY), server(failure=AWAY)], [server("large")])
    told = await house.ask(asked())
    assert text_of(told) == "large"
    assert {progress.attempts for progress in told} == {3}


async def test_a_refusal_that_is_the_requests_fault_is_passed_on() -> None:
    """Nobody else is asked: they would refuse it too, and be paid for that."""
    twin, large = server(), server()
    house = House([server(failure=BAD_REQUEST), twin], [large])
    with pytest.raises(UpstreamRefused) as caught:
        await house.ask(asked())
    assert caught.value is BAD_REQUEST
    assert not twin.calls
    assert not large.calls
    (record,) = await house.records()
    assert (record.outcome, record.error_code) == (Outcome.FAILED, "bad")


async def test_when_all_fail_the_last_reason_is_told() -> None:
    """Before anything was committed: a true HTTP error."""
    house = House([server(failure=AWAY)], [server(failure=AWAY), server(failure=BROKE_OFF)])
    with pytest.raises(UpstreamTruncated):
        await house.ask(asked())
    assert [record.error_code for record in await house.records()] == [
        AWAY.code,
        AWAY.code,
        BROKE_OFF.code,
    ]


async def test_a_weak_answer_is_not_given_when_the_larger_model_fails() -> None:
    """What was found too weak stays so: the failure is told."""
    house = House([server(least_logprob=UNSURE)], [server(failure=AWAY)])
    with pytest.raises(UpstreamUnreachable):
        await house.ask(asked(stream=False))
    assert outcomes(await house.records()) == [
        ("place0a/model0", Outcome.OUTDONE),
        ("place1a/model1", Outcome.FAILED),
    ]


async def test_an_error_after_the_first_word_breaks_the_answer_off() -> None:
    """What was committed stays; nobody else is asked; what was used is counted."""
    twin = server()
    house = House([server("one two three", failure=BROKE_OFF, failure_after=2), twin])
    told = []
    with pytest.raises(UpstreamTruncated):  # noqa: PT012
        async for progress in house.answer(asked()):
            told.append(progress)  # noqa: PERF401
    assert text_of(told) == "one two "
    assert not twin.calls
    (record,) = await house.records()
    assert (record.outcome, record.error_code) == (Outcome.FAILED, BROKE_OFF.code)
    assert record.usage == Usage(3, 2, source="tokenizer")


async def test_a_bug_in_an_upstream_is_a_failure() -> None:
    """An error that is not ours is passed on and counted as what it is."""

    class Broken(ScriptedUpstream):
        async def attempt(self, call: Call) -> AsyncGenerator[Events, None]:
            async for events in super().attempt(call):
                yield events
                raise ZeroDivisionError

    house = House([Broken("theirs", Script("one two"))])
    with pytest.raises(ZeroDivisionError):
        await house.ask(asked())
    (record,) = await house.records()
    assert (record.outcome, record.error_code) == (Outcome.FAILED, "internal_error")
    assert record.usage == Usage(3, 1, source="tokenizer")


async def test_an_answer_that_nobody_read_is_nobodys() -> None:
    """Closed before it began: nothing was sent, nothing is recorded."""
    only = server()
    house = House([only])
    await house.answer(asked()).aclose()
    assert not only.calls
    assert await house.records() == []


@pytest.mark.parametrize("counts", [True, False], ids=["tokenizer", "estimate"])
@pytest.mark.parametrize(
    ("script", "acceptance", "completion"),
    [
        ({"delay_s": AGES_S}, Acceptance(), (0, 0)),
        ({"piece_s": AGES_S, "least_logprob": SURE}, JUDGED, (1, 1)),
        ({"piece_s": AGES_S}, Acceptance(), (1, 1)),
    ],
    ids=["before the first word", "while it is held", "in mid-stream"],
)
async def test_a_client_that_leaves_is_counted(
    counts: bool, script: dict[str, object], acceptance: Acceptance, completion: tuple[int, int]
) -> None:
    """Whenever it does: once, with the prompt and what was generated, and never as nothing."""

    class Uncounting(ScriptedUpstream):
        async def count_tokens(self, model: str, text: str) -> int | None:
            return await super().count_tokens(model, text) if counts else None

    only = Uncounting("theirs", Script("one two", **script))  # type: ignore[arg-type]
    house = House([only], [server("large")], acceptance=acceptance)
    reading = asyncio.create_task(house.ask(asked()))
    await asyncio.sleep(0.02)
    assert only.open_attempts == 1
    reading.cancel()
    await asyncio.wait((reading,))
    assert only.open_attempts == 0
    (record,) = await house.records()
    assert record.outcome is Outcome.ABANDONED
    assert record.usage == (
        Usage(3, completion[0], source="tokenizer")
        if counts
        else Usage(9, completion[1], source="estimate")
    )
    assert record.price is not None
    assert record.price.nano > 0
    assert record.error_code is None


@pytest.mark.parametrize("read", [1, 2])
async def test_closing_between_two_words(read: int) -> None:
    """As when a client's disconnect is noticed at a write."""
    only = server("one two three")
    house = House([only])
    answer = house.answer(asked())
    for _ in range(read):
        await anext(answer)
    await answer.aclose()
    assert only.open_attempts == 0
    (record,) = await house.records()
    assert record.outcome is Outcome.ABANDONED
    assert record.usage == Usage(3, read, source="tokenizer")


async def test_reported_usage_counts_even_when_the_client_left_at_the_last_word() -> None:
    """Nothing is estimated where the upstream has told."""
    house = House([server("one two")])
    answer = house.answer(asked(stream=False))
    await anext(answer)
    await answer.aclose()
    (record,) = await house.records()
    assert record.outcome is Outcome.ABANDONED
    assert record.usage == Usage(3, 2)


async def test_an_upstream_that_reports_nothing_is_counted() -> None:
    """A whole answer without usage is no answer for nothing."""
    house = House([server("one two", reports_usage=False)])
    await house.ask(asked())
    (record,) = await house.records()
    assert record.outcome is Outcome.ANSWERED
    assert record.usage == Usage(3, 2, source="tokenizer")
    assert record.price == Money(23, "EUR")


async def test_a_request_that_cannot_be_planned_asks_nobody() -> None:
    """Its error is its answer."""
    only = server()
    house = House([only])
    with pytest.raises(UnknownRoute):
        await house.ask(asked(route="nowhere"))
    assert not only.calls
    assert await house.records() == []


async def test_a_full_ledger_refuses() -> None:
    """Before anybody is asked; what runs already is still counted; later it takes requests."""
    only = server()
    house = House([only], full=1)
    house.ledger.failing = True
    house.writer.start()
    running = house.answer(asked())
    await anext(running)
    await house.ask(asked())
    with pytest.raises(CannotCount):
        await house.ask(asked())
    assert len(only.calls) == 2
    await running.aclose()
    house.ledger.failing = False
    async with asyncio.timeout(2):
        while house.writer.waiting:  # noqa: ASYNC110 (the writer tells nobody)
            await asyncio.sleep(0.005)
    await house.ask(asked())
    assert len(await house.records()) == 3


async def test_a_store_that_fails_for_a_while_loses_nothing() -> None:
    """All requests are answered meanwhile, and are written in their order afterwards."""
    house = House([server()])
    house.writer.start()
    for number in range(6):
        house.ledger.failing = number in (1, 2, 3)
        async with aclosing(house.answer(asked(), f"request{number}")) as answer:
            assert [progress async for progress in answer]
        await asyncio.sleep(0.01)
    records = await house.records()
    assert [record.request_id for record in records] == [f"request{n}" for n in range(6)]
    ids = [record.attempt_id for record in records]
    assert sorted(ids) == ids


async def test_many_at_once() -> None:
    """Each is answered and recorded on its own."""
    house = House([server("weak", least_logprob=UNSURE, piece_s=0.001)], [server("large")])
    answers = await asyncio.gather(*(house.ask(asked()) for _ in range(100)))
    assert {text_of(told) for told in answers} == {"large"}
    records = await house.records()
    assert len({record.attempt_id for record in records}) == 200


SCRIPTS: dict[str, Callable[[], ScriptedUpstream]] = {
    "sure": lambda: server("one two", least_logprob=SURE),
    "unsure": lambda: server("one two", least_logprob=UNSURE),
    "blind": lambda: server("one two"),
    "uncounted": lambda: server("one two", reports_usage=False),
    "away": lambda: server(failure=AWAY),
    "refuses": lambda: server(failure=BAD_REQUEST),
    "breaks off": lambda: server("one two", least_logprob=SURE, failure=BROKE_OFF, failure_after=1),
}


@given(
    stages=st.lists(
        st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=1, max_size=3), min_size=1, max_size=3
    ),
    stream=st.booleans(),
    judged=st.booleans(),
    leave_after=st.none() | st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_the_books_are_right(
    stages: list[list[str]], stream: bool, judged: bool, leave_after: int | None
) -> None:
    """Every call is recorded once, with tokens unless it never began; one answer at most."""
    servers = [[SCRIPTS[name]() for name in names] for names in stages]
    told: list[Progress] = []
    failed: list[EcluseError] = []

    async def go() -> list[AttemptRecord]:
        house = House(*servers, acceptance=JUDGED if judged else Acceptance())
        try:
            async with aclosing(house.answer(asked(stream=stream))) as answer:
                async for progress in answer:
                    told.append(progress)
                    if len(told) == leave_after:
                        break
        except EcluseError as error:
            failed.append(error)
        return await house.records()

    records = asyncio.run(go())
    everybody = [each for group in servers for each in group]
    assert len(records) == sum(len(each.calls) for each in everybody)
    assert all(len(each.calls) <= 1 and each.open_attempts == 0 for each in everybody)
    ends = [record.outcome for record in records]
    assert ends.count(Outcome.ANSWERED) + ends.count(Outcome.ABANDONED) <= 1
    assert bool(failed) == (Outcome.ANSWERED not in ends and Outcome.ABANDONED not in ends)
    if Outcome.ANSWERED in ends:
        assert text_of(told) == "one two"
    for record in records:
        began = record.first_event_us is not None
        assert (record.usage.prompt_tokens > 0) == (began or record.outcome is not Outcome.FAILED)
        assert (record.error_code is not None) == (record.outcome is Outcome.FAILED)
        assert record.price is not None
