"""Stages in threads: order, errors, and what is left when somebody leaves early."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from indexing.pipeline.stages import Stages


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before, interval = set(threading.enumerate()), sys.getswitchinterval()
    yield
    assert set(threading.enumerate()) == before
    assert sys.getswitchinterval() == interval


def counting(most: int) -> Callable[[], Any]:
    numbers = iter(range(most))
    return lambda: next(numbers, None)


def failing_at(number: int, error: BaseException) -> Callable[[int], int]:
    def step(value: int) -> int:
        if value == number:
            raise error
        return value

    return step


def test_results_come_in_order_and_each_stage_says_what_it_did() -> None:
    with Stages("count", counting(50), [("double", lambda n: 2 * n), ("tell", str)]) as stages:
        assert list(stages) == [str(2 * number) for number in range(50)]
    assert [time.name for time in stages.times()] == ["count", "double", "tell"]
    assert all(time.busy > 0 for time in stages.times())


def test_stages_work_at_the_same_time() -> None:
    """They meet at a barrier, each with another batch: one thread alone would wait for ever."""
    barrier = threading.Barrier(3, timeout=30)

    def meeting(with_number: int) -> Callable[[int], int]:
        def step(number: int) -> int:
            if number == with_number:
                barrier.wait()
            return number

        return step

    steps = [("a", meeting(2)), ("b", meeting(1)), ("c", meeting(0))]
    with Stages("count", counting(10), steps) as stages:
        assert list(stages) == list(range(10))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_comes_out_as_it_was_raised_after_the_batches_ahead_of_it(at: int) -> None:
    error = OSError("no space left on device")
    steps: list[tuple[str, Callable[[int], int]]] = [(name, lambda n: n) for name in ("a", "b", "c")]
    steps[at] = ("broken", failing_at(7, error))
    seen = []
    with pytest.raises(OSError) as raised, Stages("count", counting(10**9), steps) as stages:
        seen.extend(stages)
    assert raised.value is error
    assert seen == list(range(7))


def test_an_error_of_the_first_stage_comes_out_too() -> None:
    numbers = iter([1, 2])

    def first() -> int:
        return next(numbers, None) or int("no number")

    seen: list[int] = []
    with pytest.raises(ValueError, match="no number"), Stages("count", first, [("same", lambda n: n)]) as stages:
        seen.extend(stages)
    assert seen == [1, 2]


def test_whoever_leaves_early_stops_all_stages() -> None:
    stopped = []
    with Stages("count", counting(10**9), [("same", lambda n: n)], stop=lambda: stopped.append(True)) as stages:
        assert next(iter(stages)) == 0
    assert stopped == [True]


def test_a_source_that_waits_is_told_to_stop() -> None:
    waiting = threading.Event()

    def never() -> None:
        waiting.wait(60)

    with pytest.raises(KeyboardInterrupt), Stages("wait", never, [("same", lambda n: n)], stop=waiting.set):
        raise KeyboardInterrupt


def test_a_slow_stage_holds_the_others_back() -> None:
    made = []

    def make() -> int:
        made.append(1)
        return len(made)

    gate = threading.Event()
    with Stages("make", make, [("slow", lambda n: gate.wait(60) and n)]) as stages:
        results = iter(stages)
        while len(made) < 5:
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)
        assert len(made) < 10  # and not as many as there was time for
        gate.set()
        assert next(results) == 1
    assert stages.times()[0].waited_for_room > 0
