"""Run functions as the stages of a pipeline: each in its own thread, with bounded queues between them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Result = TypeVar("Result")

_DEPTH = 4
"""Batches between two stages: a stage that is slow for some seconds, as during a commit, blocks no other."""
_POLL_SECONDS = 0.2
"""How often a thread that waits at a queue checks whether it has to stop."""
_SWITCH_SECONDS = 2e-4
"""An encoder releases the interpreter hundreds of times per second and must not wait 5 ms each time to resume."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds of one stage, summed over its processes: at work, without input, and without room for its output."""

    name: str
    busy: float
    waited_for_input: float = 0.0
    waited_for_room: float = 0.0
    processes: int = 1

    def rounded(self) -> StageTime:
        """The same in milliseconds' precision."""
        busy, starved, blocked = (round(item, 3) for item in (self.busy, self.waited_for_input, self.waited_for_room))
        return StageTime(self.name, busy, starved, blocked, self.processes)


@dataclass(frozen=True, slots=True)
class _End:
    """The last item of a queue; with the error that ended the stage."""

    error: BaseException | None = None


class _Input(Iterator[Any]):
    """The items of a queue. `waited` counts the seconds without one."""

    def __init__(self, queue: Queue[Any], stopping: threading.Event) -> None:
        self._queue, self._stopping = queue, stopping
        self.waited = 0.0

    def __next__(self) -> Any:
        began = time.perf_counter()
        item = self._get()
        self.waited += time.perf_counter() - began
        if not isinstance(item, _End):
            return item
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _get(self) -> Any:
        while not self._stopping.is_set():
            with suppress(Empty):
                return self._queue.get(timeout=_POLL_SECONDS)
        return _End()


class _Stage:
    """An iterator that is drained into a queue. `waited` gives the seconds that `items` itself waited for input."""

    def __init__(self, name: str, items: Iterator[Any], waited: Callable[[], float], stopping: threading.Event) -> None:
        self._name, self._items, self._waited, self._stopping = name, items, waited, stopping
        self._seconds = self._blocked = 0.0
        self.output: Queue[Any] = Queue(_DEPTH)

    def run(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._put(item)
            self._put(_End())
        except BaseException as error:  # raised again in the thread that iterates
            self._put(_End(error))

    def time(self) -> StageTime:
        waited = self._waited()
        return StageTime(self._name, max(0.0, self._seconds - waited), waited, self._blocked)

    def _next(self) -> Any:
        began = time.perf_counter()
        try:
            return None if self._stopping.is_set() else next(self._items, None)
        finally:
            self._seconds += time.perf_counter() - began

    def _put(self, item: Any) -> None:
        began = time.perf_counter()
        while not self._stopping.is_set():
            with suppress(Full):
                self.output.put(item, timeout=_POLL_SECONDS)
                break
        self._blocked += time.perf_counter() - began


class Stages(Generic[Result]):
    """Pass every item of `source` through `steps`, and iterate over the results in order. A context manager.

    `source` and each step have a name and a thread. An error of a stage is raised once the results of all earlier
    items are out. On exit all threads end; a step that is running finishes its item. `on_stop` is called on exit, to
    end a source that waits; `waited` gives the seconds that the source has waited.
    """

    def __init__(
        self,
        source: tuple[str, Iterable[Any]],
        steps: Sequence[tuple[str, Callable[[Any], Any]]],
        *,
        on_stop: Callable[[], None] = lambda: None,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._on_stop = on_stop
        self._stopping = threading.Event()
        name, items = source
        self._stages = [_Stage(name, iter(items), waited, self._stopping)]
        for name, step in steps:
            self._stages.append(self._stage(name, step, _Input(self._stages[-1].output, self._stopping)))

    def __enter__(self) -> Self:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._interval, _SWITCH_SECONDS))
        self._pool = ThreadPoolExecutor(len(self._stages), thread_name_prefix="stage")
        for stage in self._stages:
            self._pool.submit(stage.run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._on_stop()
        interrupted = _shut_down(self._pool)
        sys.setswitchinterval(self._interval)
        if interrupted is not None and error is None:
            raise interrupted

    def __iter__(self) -> Iterator[Result]:
        return _Input(self._stages[-1].output, self._stopping)

    def times(self) -> list[StageTime]:
        """Times so far, in the order of the stages."""
        return [stage.time() for stage in self._stages]

    def _stage(self, name: str, step: Callable[[Any], Any], items: _Input) -> _Stage:
        return _Stage(name, (step(item) for item in items), lambda: items.waited, self._stopping)


def _shut_down(pool: ThreadPoolExecutor) -> KeyboardInterrupt | None:
    """Wait for all threads, even after Ctrl-C: one may be in the middle of a transaction."""
    interrupted = None
    while True:
        try:
            pool.shutdown()
        except KeyboardInterrupt as error:
            interrupted = error
        else:
            return interrupted
