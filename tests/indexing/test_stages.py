"""Stages in threads: order, errors, and early exit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from indexing.stages import Stages


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before, interval = set(threading.enumerate()), sys.getswitchinterval()
    yield
    assert set(threading.enumerate()) == before
    assert sys.getswitchinterval() == interval


def failing_at(number: int, error: BaseException) -> Callable[[int], int]:
    def step(value: int) -> int:
        if value == number:
            raise error
        return value

    return step


def test_results_come_in_order_and_each_stage_is_timed() -> None:
    with Stages(("count", range(50)), [("double", lambda n: 2 * n), ("tell", str)]) as stages:
        assert list(stages) == [str(2 * number) for number in range(50)]
    assert [time.name for time in stages.times()] == ["count", "double", "tell"]
    assert all(time.busy > 0 for time in stages.times())


def test_stages_work_at_the_same_time() -> None:
    """Each waits at a barrier with another batch: a single thread would wait forever."""
    barrier = threading.Barrier(3, timeout=30)

    def meeting(with_number: int) -> Callable[[int], int]:
        def step(number: int) -> int:
            if number == with_number:
                barrier.wait()
            return number

        return step

    steps = [("a", meeting(2)), ("b", meeting(1)), ("c", meeting(0))]
    with Stages(("count", range(10)), steps) as stages:
        assert list(stages) == list(range(10))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_is_raised_unchanged_after_the_results_of_earlier_items(at: int) -> None:
    error = OSError("no space left on device")
    steps: list[tuple[str, Callable[[int], int]]] = [(name, lambda n: n) for name in ("a", "b", "c")]
    steps[at] = ("broken", failing_at(7, error))
    seen = []
    with pytest.raises(OSError) as raised, Stages(("count", range(10**9)), steps) as stages:
        seen.extend(stages)
    assert raised.value is error
    assert seen == list(range(7))


def test_an_error_of_the_source_is_raised_too() -> None:
    def numbers() -> Iterator[int]:
        yield from (1, 2)
        yield int("no number")

    seen: list[int] = []
    with pytest.raises(ValueError, match="no number"), Stages(("count", numbers()), [("same", lambda n: n)]) as stages:
        seen.extend(stages)
    assert seen == [1, 2]


def test_early_exit_stops_all_stages() -> None:
    stopped = []
    with Stages(("count", range(10**9)), [("same", lambda n: n)], on_stop=lambda: stopped.append(True)) as stages:
        assert next(iter(stages)) == 0
    assert stopped == [True]


def test_a_waiting_source_is_stopped() -> None:
    waiting = threading.Event()

    def never() -> Iterator[int]:
        waiting.wait(60)
        yield 1

    source = ("wait", never())
    with pytest.raises(KeyboardInterrupt), Stages(source, [("same", lambda n: n)], on_stop=waiting.set):
        raise KeyboardInterrupt


def test_a_slow_stage_blocks_the_stages_before_it() -> None:
    made = []

    def make() -> Iterator[int]:
        while True:
            made.append(1)
            yield len(made)

    gate = threading.Event()
    with Stages(("make", make()), [("slow", lambda n: gate.wait(60) and n)]) as stages:
        results = iter(stages)
        while len(made) < 5:
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)
        assert len(made) < 10  # bounded by the queues, not by the time
        gate.set()
        assert next(results) == 1
    assert stages.times()[0].waited_for_room > 0
