from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from search_app.errors import BackendUnavailable, InvalidQuery
from search_app.stores.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("Elasticsearch", clock=clock)


def fail(breaker: CircuitBreaker, times: int = 1, *, message: str = "connection refused") -> None:
    for _ in range(times):
        with pytest.raises(BackendUnavailable, match=message), breaker.guard():
            raise BackendUnavailable(message, hint="start it")


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.guard():
        pass


def test_five_failures_within_ten_seconds_open_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(4):
        fail(breaker)
        clock.now += 2.5
        assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_failures_further_apart_do_not_open_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(40):
        fail(breaker)
        clock.now += 2.6
    assert breaker.state == "closed"


def test_successes_in_between_do_not_reset_the_count(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        succeed(breaker)
        fail(breaker)
    assert breaker.state == "open"


def test_while_open_no_call_is_made_and_the_error_gives_times_and_reason(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(5):
        fail(breaker)
        clock.now += 1
    clock.now += 3
    called = False
    with pytest.raises(BackendUnavailable) as caught, breaker.guard():
        called = True
    assert not called
    assert caught.value.message == (
        "Elasticsearch has been failing for 8 s and will be tried again in 11 s; at last: connection refused"
    )
    assert caught.value.hint == "start it"


def test_refused_calls_do_not_extend_the_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    for _ in range(14):
        clock.now += 1
        fail(breaker, message="will be tried again")
    clock.now += 1
    assert breaker.state == "half-open"
    succeed(breaker)
    assert breaker.state == "closed"


def test_after_the_pause_a_failing_trial_call_reopens_it(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 15
    fail(breaker)
    assert breaker.state == "open"
    clock.now += 14.9
    fail(breaker, message="failing for 30 s and will be tried again in 1 s")
    clock.now += 0.1
    succeed(breaker)
    assert breaker.state == "closed"


def test_after_closing_the_failure_count_starts_at_zero(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 15
    succeed(breaker)
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_only_one_of_many_threads_makes_the_trial_call(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 15
    threads = 16
    inside: list[int] = []
    start, refused = threading.Barrier(threads), threading.Semaphore(0)

    def call(number: int) -> str:
        start.wait()
        try:
            with breaker.guard():
                inside.append(number)
                for _ in range(threads - 1):  # stays inside until all the others have been turned away
                    assert refused.acquire(timeout=30)
        except BackendUnavailable as error:
            refused.release()
            return error.message
        return "served"

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(call, range(threads)))
    assert len(inside) == 1
    assert outcomes.count("served") == 1
    assert sum("is being tried again now" in outcome for outcome in outcomes) == threads - 1
    assert breaker.state == "closed"


def test_calls_run_concurrently_while_it_is_closed(breaker: CircuitBreaker) -> None:
    meet = threading.Barrier(4)

    def call(_: int) -> None:
        with breaker.guard():
            meet.wait(timeout=30)  # breaks unless all four are inside at once

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))


def test_other_errors_count_neither_as_failure_nor_as_success(breaker: CircuitBreaker, clock: Clock) -> None:
    def refuse() -> None:
        with pytest.raises(InvalidQuery), breaker.guard():
            raise InvalidQuery("no such field")

    for _ in range(20):
        refuse()
    assert breaker.state == "closed"
    fail(breaker, 5)
    clock.now += 15
    refuse()
    assert breaker.state == "half-open"
    succeed(breaker)
    assert breaker.state == "closed"


def test_an_interrupted_trial_call_allows_the_next_one(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 15
    with pytest.raises(KeyboardInterrupt), breaker.guard():
        raise KeyboardInterrupt
    succeed(breaker)
    assert breaker.state == "closed"


@pytest.mark.parametrize("late", [None, BackendUnavailable("an old request timed out")])
def test_a_call_that_began_before_it_opened_is_ignored(
    breaker: CircuitBreaker, clock: Clock, late: BackendUnavailable | None
) -> None:
    early = breaker.guard()
    early.__enter__()
    fail(breaker, 5)
    clock.now += 15
    with breaker.guard():
        assert not early.__exit__(type(late) if late else None, late, None)
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
    fail(breaker, 4)
    assert breaker.state == "closed"


class Machine(RuleBasedStateMachine):
    """Any order of calls and pauses, compared with a simple model."""

    @initialize(failures=st.integers(1, 4))
    def make(self, failures: int) -> None:
        self.clock = Clock()
        self.failures = failures
        self.breaker = CircuitBreaker("server", failures=failures, window=10, pause=15, clock=self.clock)
        self.running: list[tuple[Any, str]] = []  # guards that were entered, and the state they were entered in
        self.trying: Any = None
        self.opened_at: float | None = None
        self.failed_at: list[float] = []

    @rule(seconds=st.sampled_from([0.5, 3, 9.5, 15, 40]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def begin(self) -> None:
        guard, before = self.breaker.guard(), self.breaker.state
        try:
            guard.__enter__()
        except BackendUnavailable:
            assert before == "open" or (before == "half-open" and self.trying is not None)
            return
        assert before != "open"
        if before == "half-open":
            assert self.trying is None
            self.trying = guard
        self.running.append((guard, before))

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 100), how=st.sampled_from(["well", "badly", "otherwise"]))
    def end(self, index: int, how: str) -> None:
        guard, _ = self.running.pop(index % len(self.running))
        before = self.breaker.state
        error = {"well": None, "badly": BackendUnavailable("down"), "otherwise": InvalidQuery("no")}[how]
        if error is None:
            guard.__exit__(None, None, None)
        else:
            assert not guard.__exit__(type(error), error, None)
        after, tried = self.breaker.state, guard is self.trying
        if tried:
            self.trying = None
            assert after == {"well": "closed", "badly": "open", "otherwise": "half-open"}[how]
        elif how == "badly" and before == "closed":
            self.failed_at.append(self.clock.now)
            recent = [moment for moment in self.failed_at if moment >= self.clock.now - 10]
            assert after in ("closed", "open")
            assert after == "closed" or len(recent) >= self.failures
        else:
            assert after == before
        if after == "open" != before:
            self.opened_at = self.clock.now
        elif after == "closed" != before:
            self.opened_at = None
            self.failed_at.clear()

    @invariant()
    def state_follows_the_clock(self) -> None:
        if self.opened_at is None:
            assert self.breaker.state == "closed"
        else:
            assert self.breaker.state == ("open" if self.clock.now < self.opened_at + 15 else "half-open")

    def teardown(self) -> None:
        """A pause and one successful call close it from any state."""
        for guard, _ in self.running:
            guard.__exit__(None, None, None)
        self.clock.now += 15
        succeed(self.breaker)
        assert self.breaker.state == "closed"


TestAnyOrderOfCalls = Machine.TestCase
