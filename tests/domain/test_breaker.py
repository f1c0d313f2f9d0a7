"""The circuit breaker of a deployment: its whole table, and what holds whatever happens."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ecluse.domain.errors import (
    ContextExceeded,
    DeadlinePassed,
    EcluseError,
    UpstreamError,
    UpstreamFailed,
    UpstreamGarbage,
    UpstreamRefused,
    UpstreamSilent,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ecluse.domain.fleet.breaker import (
    CLOSED,
    FAILURES_TO_OPEN,
    FIRST_PAUSE_US,
    LONGEST_PAUSE_US,
    LONGEST_RETRY_AFTER_US,
    PROBE_EVERY_US,
    TRANSITIONS,
    US_PER_S,
    Breaker,
    Signal,
    State,
    after,
)

NOW = 1_000_000_000_000
SHARES = st.floats(0, 1)
CLIENT_ERRORS = (400, 405, 409, 411, 413, 415, 422, 431, 451)
FAILURES: tuple[UpstreamError, ...] = (
    UpstreamFailed("500"),
    UpstreamUnreachable("It is away.", retry_after_s=5),
    UpstreamGarbage("What?"),
    UpstreamTruncated("It broke off."),
    UpstreamSilent("Nothing."),
    *(UpstreamRefused("No.", upstream_status=status) for status in (401, 402, 403, 404, 408)),
)
NOBODYS: tuple[EcluseError | None, ...] = (
    ContextExceeded("Too long."),
    DeadlinePassed("Too late."),
    EcluseError("a bug"),
)


def refused(status: int, retry_after_s: int | None = None) -> UpstreamRefused:
    """An upstream's 4xx."""
    return UpstreamRefused("No.", upstream_status=status, retry_after_s=retry_after_s)


def busy(status: int, retry_after_s: int) -> UpstreamError:
    """An upstream that asks to be left alone."""
    if status == 429:
        return refused(status, retry_after_s)
    return UpstreamFailed("503", retry_after_s=retry_after_s)


def failing(times: int, now_us: int = NOW, share: float = 1.0) -> Breaker:
    """A breaker after failures in a row."""
    breaker = CLOSED
    for _ in range(times):
        breaker = after(breaker, FAILURES[0], now_us, share)
    return breaker


def in_state(state: State, *, failures: int) -> Breaker:
    """A breaker in a state after failures in a row."""
    return Breaker(state, failures, 1, NOW if state is State.HALF_OPEN else NOW + 1)


def told(breaker: Breaker, signal: Signal) -> Breaker:
    """The breaker after the event behind a signal."""
    match signal:
        case Signal.SUCCEEDED:
            return after(breaker, None, NOW, 0.5)
        case Signal.SUCCEEDED_MEANWHILE:
            waited_for = msgspec.structs.replace(breaker, asked_until_us=NOW + 1)
            return after(waited_for, None, NOW, 0.5)
        case Signal.BUSY:
            return after(breaker, busy(429, 7), NOW, 0.5)
        case Signal.PAUSE_OVER:
            return breaker.at(NOW + 1)
        case Signal.FAILED | Signal.FAILED_ONCE_TOO_OFTEN:
            return after(breaker, FAILURES[0], NOW, 0.5)


def test_the_table_is_whole() -> None:
    """Every signal in every state."""
    assert set(TRANSITIONS) == set(itertools.product(State, Signal))


@pytest.mark.parametrize(("state", "signal"), TRANSITIONS)
def test_the_breaker_goes_by_its_table(state: State, signal: Signal) -> None:
    """What a breaker does in each state is what the table says."""
    failures = FAILURES_TO_OPEN - 1 if signal is Signal.FAILED_ONCE_TOO_OFTEN else 0
    after_it = told(in_state(state, failures=failures), signal)
    assert after_it.state is TRANSITIONS[state, signal]


@pytest.mark.parametrize(
    ("state", "signal", "expected"),
    [
        (State.CLOSED, Signal.FAILED, State.CLOSED),
        (State.CLOSED, Signal.FAILED_ONCE_TOO_OFTEN, State.OPEN),
        (State.CLOSED, Signal.BUSY, State.OPEN),
        (State.OPEN, Signal.FAILED_ONCE_TOO_OFTEN, State.OPEN),
        (State.OPEN, Signal.PAUSE_OVER, State.HALF_OPEN),
        (State.OPEN, Signal.SUCCEEDED, State.CLOSED),
        (State.OPEN, Signal.SUCCEEDED_MEANWHILE, State.OPEN),
        (State.HALF_OPEN, Signal.FAILED, State.OPEN),
        (State.HALF_OPEN, Signal.BUSY, State.OPEN),
        (State.HALF_OPEN, Signal.SUCCEEDED, State.CLOSED),
    ],
)
def test_what_the_table_must_say(state: State, signal: Signal, expected: State) -> None:
    """The transitions that a circuit breaker is for."""
    assert TRANSITIONS[state, signal] is expected


@pytest.mark.parametrize("error", FAILURES)
def test_failures_in_a_row_open_it(error: UpstreamError) -> None:
    """Whatever kind they are of; a success in between begins the count anew."""
    breaker = CLOSED
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker = after(breaker, error, NOW, 0.5)
    assert breaker.state is State.CLOSED
    assert after(breaker, error, NOW, 0.5).state is State.OPEN
    assert after(after(breaker, None, NOW, 0.5), error, NOW, 0.5).state is State.CLOSED


@given(
    statuses=st.lists(st.sampled_from(CLIENT_ERRORS), min_size=1, max_size=200),
    retry_after_s=st.none() | st.integers(0, 10**6),
)
def test_client_errors_never_open_it(statuses: list[int], retry_after_s: int | None) -> None:
    """Whatever their number, and whatever Retry-After comes with them: one tenant's bad requests
    are nobody else's trouble.
    """
    breaker = CLOSED
    for status in statuses:
        breaker = after(breaker, refused(status, retry_after_s), NOW, 0.5)
        assert breaker.lets_through(NOW)
    assert breaker == CLOSED


@pytest.mark.parametrize("status", CLIENT_ERRORS)
def test_a_client_error_shows_that_the_deployment_is_there(status: int) -> None:
    """It answered: what failed before is forgotten."""
    assert after(failing(FAILURES_TO_OPEN - 1), refused(status), NOW, 0.5) == CLOSED
    probed = failing(FAILURES_TO_OPEN).at(NOW + FIRST_PAUSE_US).probed(NOW + FIRST_PAUSE_US)
    assert after(probed, refused(status), NOW + FIRST_PAUSE_US, 0.5) == CLOSED


@given(error=st.sampled_from(NOBODYS), failures=st.integers(0, FAILURES_TO_OPEN))
def test_what_no_deployment_did_changes_nothing(error: EcluseError, failures: int) -> None:
    """Our own bugs, the client's deadline."""
    breaker = failing(failures)
    assert after(breaker, error, NOW, 0.5) == breaker


@given(
    status=st.sampled_from([429, 503]),
    wait_s=st.integers(1, 3_600),
    state=st.sampled_from(State),
    share=SHARES,
)
def test_retry_after_is_honoured(status: int, wait_s: int, state: State, share: float) -> None:
    """To the moment, from every state; whoever asks for more than an hour gets an hour."""
    breaker = after(in_state(state, failures=0), busy(status, wait_s), NOW, share)
    assert not breaker.lets_through(NOW + wait_s * US_PER_S - 1)
    assert breaker.lets_through(NOW + wait_s * US_PER_S)
    for_ever = after(CLOSED, busy(status, 10**9), NOW, share)
    assert for_ever.wait_us(NOW) == LONGEST_RETRY_AFTER_US


def test_a_shorter_retry_after_shortens_no_pause() -> None:
    """An open breaker stays so until the later of the two."""
    breaker = after(after(CLOSED, busy(429, 60), NOW, 0.5), busy(429, 1), NOW, 0.5)
    assert breaker.wait_us(NOW) == 60 * US_PER_S


@pytest.mark.parametrize("end", [None, refused(400)])
def test_requests_that_were_under_way_shorten_no_retry_after(end: UpstreamRefused | None) -> None:
    """Their answers say that the deployment is there, not that it has room again; a pause for
    failures they do end.
    """
    breaker = after(failing(FAILURES_TO_OPEN), busy(429, 60), NOW, 0.5)
    answered = after(breaker, end, NOW + 1, 0.5)
    assert not answered.lets_through(NOW + 60 * US_PER_S - 1)
    assert answered.lets_through(NOW + 60 * US_PER_S)
    assert after(answered, end, NOW + 60 * US_PER_S, 0.5) == CLOSED
    slept = after(after(CLOSED, busy(429, 1), NOW, 0.5), end, NOW + US_PER_S, 0.5)
    assert slept == CLOSED
    assert after(failing(FAILURES_TO_OPEN), end, NOW, 0.5) == CLOSED


def test_busy_without_a_time_is_a_short_pause() -> None:
    """429 alone says as much."""
    assert after(CLOSED, refused(429), NOW, 0.5).wait_us(NOW) == FIRST_PAUSE_US


def test_a_server_that_fails_and_says_to_come_back_at_once_is_failing() -> None:
    """Retry-After: 0 with each 503 would else have it asked for ever."""
    breaker = CLOSED
    for _ in range(FAILURES_TO_OPEN):
        breaker = after(breaker, busy(503, 0), NOW, 0.5)
    assert breaker.wait_us(NOW) >= FIRST_PAUSE_US // 2


@given(shares=st.lists(SHARES, min_size=1, max_size=40))
def test_pauses_grow_and_are_bounded(shares: list[float]) -> None:
    """Each doubles the one before, up to a minute; chance spreads it over its upper half."""
    breaker, now_us = failing(FAILURES_TO_OPEN - 1), NOW
    for opening, share in enumerate(shares):
        breaker = after(breaker, FAILURES[0], now_us, share)
        full_us = min(FIRST_PAUSE_US * 2**opening, LONGEST_PAUSE_US)
        wait_us = breaker.wait_us(now_us)
        assert full_us // 2 <= wait_us <= full_us
        assert wait_us == pytest.approx(full_us * (1 + share) / 2, abs=1)
        now_us += wait_us
        breaker = breaker.probed(now_us)
        assert breaker.state is State.HALF_OPEN


def test_a_success_forgets_how_often_it_opened() -> None:
    """The next pause is a first one."""
    reopened = after(failing(FAILURES_TO_OPEN).at(NOW * 2), FAILURES[0], NOW * 2, 1.0)
    assert reopened.wait_us(NOW * 2) == 2 * FIRST_PAUSE_US
    assert after(reopened, None, NOW * 2, 1.0) == CLOSED


@given(
    state=st.sampled_from(State),
    until_us=st.integers(NOW - 10, NOW + 10),
    probed_at_us=st.none() | st.integers(NOW - 10, NOW),
    now_us=st.integers(NOW, NOW + PROBE_EVERY_US * 2),
)
def test_the_wait_is_exact(
    state: State, until_us: int, probed_at_us: int | None, now_us: int
) -> None:
    """So long nothing passes, and then something does."""
    breaker = Breaker(state, 0, 1, until_us, probed_at_us)
    wait_us = breaker.wait_us(now_us)
    assert wait_us >= 0
    assert breaker.lets_through(now_us + wait_us)
    assert wait_us == 0 or not breaker.lets_through(now_us + wait_us - 1)


class Requests(RuleBasedStateMachine):
    """A deployment is asked at any times and answers as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = NOW
        self.breaker = CLOSED
        self.probes: list[int] = []
        self.left_alone_until_us = 0
        self.failures = 0

    def told(self, error: EcluseError | None, share: float) -> None:
        """An attempt ended."""
        before = self.breaker.at(self.now_us)
        self.breaker = after(self.breaker, error, self.now_us, share)
        if self.breaker.state is not before.state:
            self.probes.clear()

    def answered(self) -> None:
        """It is there, and closed unless it asked to be left alone."""
        self.failures = 0
        if self.now_us < self.left_alone_until_us:
            assert self.breaker.wait_us(self.now_us) == self.left_alone_until_us - self.now_us
        else:
            assert self.breaker == CLOSED

    @rule(us=st.integers(0, 2 * PROBE_EVERY_US) | st.integers(0, 2 * LONGEST_RETRY_AFTER_US))
    def time_passes(self, us: int) -> None:
        """A moment, or hours."""
        self.now_us += us

    @rule()
    def ask(self) -> None:
        """A request is sent if it may be."""
        if not self.breaker.lets_through(self.now_us):
            assert self.breaker.probed(self.now_us).state is not State.CLOSED
            return
        assert self.now_us >= self.left_alone_until_us, "it asked to be left alone"
        state = self.breaker.at(self.now_us).state
        assert state is not State.OPEN
        self.breaker = self.breaker.probed(self.now_us)
        if state is State.HALF_OPEN:
            assert not self.probes or self.now_us - self.probes[-1] >= PROBE_EVERY_US
            self.probes.append(self.now_us)

    @rule(share=SHARES)
    def it_answers(self, share: float) -> None:
        """Whoever gets an answer shows that it is back."""
        self.told(None, share)
        self.answered()

    @rule(status=st.sampled_from(CLIENT_ERRORS), share=SHARES)
    def a_client_errs(self, status: int, share: float) -> None:
        """That never opens it."""
        self.told(refused(status), share)
        self.answered()

    @rule(error=st.sampled_from(FAILURES), share=SHARES)
    def it_fails(self, error: UpstreamError, share: float) -> None:
        """Any kind of failure: once too often, or when it was only tried, and it is open."""
        before = self.breaker.at(self.now_us).state
        self.told(error, share)
        self.failures += 1
        may_pass = before is State.CLOSED and self.failures < FAILURES_TO_OPEN
        assert self.breaker.lets_through(self.now_us) == may_pass

    @rule(status=st.sampled_from([429, 503]), wait_s=st.integers(1, 3_600), share=SHARES)
    def it_is_busy(self, status: int, wait_s: int, share: float) -> None:
        """It says for how long."""
        self.told(busy(status, wait_s), share)
        until_us = self.now_us + wait_s * US_PER_S
        self.left_alone_until_us = max(self.left_alone_until_us, until_us)

    @precondition(lambda self: self.breaker.state is not State.CLOSED)
    @rule()
    def it_recovers(self) -> None:
        """After its pause something is let through, and an answer closes it."""
        self.now_us += self.breaker.wait_us(self.now_us)
        self.ask()
        self.it_answers(0.5)

    @invariant()
    def an_open_one_lets_nothing_through(self) -> None:
        """And always says how long that lasts, at most an hour."""
        wait_us = self.breaker.wait_us(self.now_us)
        if self.breaker.at(self.now_us).state is State.OPEN:
            assert not self.breaker.lets_through(self.now_us)
            assert 0 < wait_us <= LONGEST_RETRY_AFTER_US
        assert self.breaker.lets_through(self.now_us + wait_us)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40)
