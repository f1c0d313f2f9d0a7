"""The breakers of all deployments: who is asked, who is left alone, and what is told of it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecluse.domain.catalog.deployments import Deployment, Offer
from ecluse.domain.errors import (
    DeadlinePassed,
    EcluseError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamUnreachable,
)
from ecluse.domain.fleet.breaker import (
    CLOSED,
    FAILURES_TO_OPEN,
    FIRST_PAUSE_US,
    PROBE_EVERY_US,
    US_PER_S,
    Breaker,
    State,
    after,
)
from ecluse.runtime.breakers import Breakers
from ecluse.runtime.chance import share

AWAY = UpstreamUnreachable("It is away.", retry_after_s=5)
BAD_REQUEST = UpstreamRefused("No.", upstream_status=400)
LATE = DeadlinePassed("Too late.")


class Still:
    """A clock that moves when it is told to, and always draws the same."""

    def __init__(self, drawn: int = 0xFF) -> None:
        self.now_us = 1_000_000_000
        self.drawn = drawn

    def unix_us(self) -> int:
        """Not what breakers go by: it may jump."""
        raise AssertionError

    def monotonic_ns(self) -> int:
        """The moment it was set to."""
        return self.now_us * 1_000

    def random_bytes(self, count: int) -> bytes:
        """As drawn."""
        return bytes([self.drawn]) * count


def deployment(name: str) -> Deployment:
    """A deployment of that name."""
    return Deployment(name, "m", name, name, Offer("m"))


A, B = deployment("a/m"), deployment("b/m")


def busy(seconds: int, message: str = "Slow down.") -> UpstreamRefused:
    """A 429 with Retry-After."""
    return UpstreamRefused(message, upstream_status=429, retry_after_s=seconds)


def fail(breakers: Breakers, of: Deployment, times: int = FAILURES_TO_OPEN) -> None:
    """So many failures in a row."""
    for _ in range(times):
        breakers.ended(of, AWAY)


def test_at_first_everybody_is_asked() -> None:
    """Nobody is left alone, nobody waited for."""
    breakers = Breakers(Still())
    assert breakers.admit(A)
    assert breakers.wait_s([A, B]) == 0
    assert breakers.wait_s([]) == 0
    assert breakers.refusal([A, B]) is None
    assert breakers.open_now() == {}


def test_each_deployment_has_its_own() -> None:
    """One that fails is left alone, the others are not."""
    breakers = Breakers(Still())
    fail(breakers, A)
    assert not breakers.admit(A)
    assert breakers.admit(B)
    assert breakers.open_now() == {A.name: State.OPEN}
    assert breakers.wait_s([A]) == FIRST_PAUSE_US / US_PER_S
    assert breakers.wait_s([A, B]) == 0


def test_one_is_let_through_to_see() -> None:
    """After the pause, and another one only after a while; admitting is asking."""
    clock = Still()
    breakers = Breakers(clock)
    fail(breakers, A)
    clock.now_us += FIRST_PAUSE_US
    assert breakers.open_now() == {A.name: State.HALF_OPEN}
    assert breakers.admit(A)
    assert not breakers.admit(A)
    assert breakers.wait_s([A]) == PROBE_EVERY_US / US_PER_S
    clock.now_us += PROBE_EVERY_US
    assert breakers.admit(A)
    breakers.ended(A, None)
    assert breakers.open_now() == {}
    assert breakers.admit(A)
    assert breakers.admit(A)


def test_the_nearest_of_several_is_waited_for() -> None:
    """So long, and then it is there."""
    clock = Still()
    breakers = Breakers(clock)
    breakers.ended(A, busy(7))
    breakers.ended(B, busy(3))
    assert breakers.wait_s([A, B]) == 3
    clock.now_us += 3 * US_PER_S
    assert not breakers.admit(A)
    assert breakers.admit(B)


@pytest.mark.parametrize("error", [BAD_REQUEST, UpstreamRefused("No.", upstream_status=422)])
def test_one_tenants_bad_requests_are_nobody_elses_trouble(error: UpstreamRefused) -> None:
    """However many there are."""
    breakers = Breakers(Still())
    for _ in range(1_000):
        breakers.ended(A, error)
        assert breakers.admit(A)
    assert breakers.open_now() == {}


@pytest.mark.parametrize("meanwhile", [None, BAD_REQUEST, UpstreamFailed("500"), LATE])
def test_what_was_said_when_it_asked_to_be_left_alone(meanwhile: EcluseError | None) -> None:
    """Is told to those who come while it lasts, whatever becomes of requests under way."""
    clock = Still()
    breakers = Breakers(clock)
    slow_down = busy(60)
    breakers.ended(A, slow_down)
    assert breakers.refusal([B]) is None
    assert breakers.refusal([B, A]) is slow_down
    breakers.ended(A, meanwhile)
    assert breakers.refusal([A]) is slow_down
    assert breakers.wait_s([A]) == 60


@pytest.mark.parametrize("then", [None, BAD_REQUEST, UpstreamFailed("500")])
def test_what_was_said_is_forgotten_afterwards(then: EcluseError | None) -> None:
    """Once it answers, or fails otherwise."""
    clock = Still()
    breakers = Breakers(clock)
    breakers.ended(A, busy(60))
    clock.now_us += 60 * US_PER_S
    breakers.ended(A, then)
    assert breakers.refusal([A]) is None


def test_a_refusal_of_ours_is_told_too() -> None:
    """A key that is wrong, say, while its deployment is left alone for that."""
    breakers = Breakers(Still())
    wrong_key = UpstreamRefused("Wrong key.", upstream_status=401)
    for _ in range(FAILURES_TO_OPEN):
        breakers.ended(A, wrong_key)
    assert breakers.refusal([A]) is wrong_key
    breakers.ended(A, LATE)
    assert breakers.refusal([A]) is wrong_key
    breakers.ended(A, None)
    assert breakers.refusal([A]) is None


@pytest.mark.parametrize("error", [LATE, EcluseError("a bug")])
def test_what_no_deployment_did_is_forgotten_at_once(error: EcluseError) -> None:
    """It neither opens nor closes anything, nor changes what is told."""
    breakers = Breakers(Still())
    for _ in range(10):
        breakers.ended(A, error)
    assert breakers.open_now() == {}
    slow_down = busy(60)
    breakers.ended(A, slow_down)
    breakers.ended(A, error)
    assert breakers.open_now() == {A.name: State.OPEN}
    assert breakers.refusal([A]) is slow_down


def test_opening_and_closing_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With what it failed of; all else is quiet."""
    breakers = Breakers(Still())
    with caplog.at_level(logging.INFO, "ecluse.runtime.breakers"):
        breakers.ended(A, BAD_REQUEST)
        fail(breakers, A, FAILURES_TO_OPEN + 2)
        breakers.ended(A, None)
        breakers.ended(A, None)
    opened, closed = (record.getMessage() for record in caplog.records)
    assert opened == f"a/m: breaker open: {AWAY}"
    assert closed == "a/m: breaker closed: it is back"


@pytest.mark.parametrize(
    ("drawn", "wait_us"), [(0x00, FIRST_PAUSE_US // 2), (0xFF, FIRST_PAUSE_US)]
)
def test_pauses_are_drawn_by_chance(drawn: int, wait_us: int) -> None:
    """From the clock's randomness."""
    breakers = Breakers(Still(drawn))
    fail(breakers, A)
    assert breakers.wait_s([A]) == wait_us / US_PER_S


@given(drawn=st.integers(0, 255))
def test_a_share_is_from_0_to_1(drawn: int) -> None:
    """Both ends included, and evenly."""
    assert share(Still(drawn)) == pytest.approx(drawn / 255)


ERRORS = st.sampled_from([None, AWAY, BAD_REQUEST, LATE, busy(2), UpstreamFailed("500")])
STEPS = st.lists(
    st.tuples(st.sampled_from([A, B]), st.just("ask") | st.tuples(ERRORS), st.integers(0, 7)),
    max_size=40,
)


@given(steps=STEPS)
def test_they_are_what_each_breaker_is(
    steps: list[tuple[Deployment, str | tuple[EcluseError | None], int]],
) -> None:
    """Whatever happens to whom: as if each deployment had one for ever."""
    clock = Still()
    breakers = Breakers(clock)
    models: dict[str, Breaker] = {A.name: CLOSED, B.name: CLOSED}
    for of, step, seconds in steps:
        clock.now_us += seconds * US_PER_S
        model = models[of.name]
        if isinstance(step, tuple):
            breakers.ended(of, *step)
            models[of.name] = after(model, *step, clock.now_us, 1.0)
        else:
            may = model.lets_through(clock.now_us)
            assert breakers.admit(of) is may
            models[of.name] = model.probed(clock.now_us) if may else model
        states = {name: each.at(clock.now_us).state for name, each in models.items()}
        assert breakers.open_now() == {
            name: state for name, state in states.items() if state is not State.CLOSED
        }
        for each in (A, B):
            wait_us = models[each.name].wait_us(clock.now_us)
            assert breakers.wait_s([each]) == wait_us / US_PER_S
