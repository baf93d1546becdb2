"""Stages that work at the same time, each in a thread of its own, with short queues between them."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Result = TypeVar("Result")

_DEPTH = 4
"""Batches between two stages: a stage that is slow for some seconds, as a commit may be, holds up no other."""
_SWITCH_SECONDS = 2e-4
"""An encoder gives the interpreter up hundreds of times a second, and must not wait 5 ms each time to get it back."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds at work, with nothing to do, and with a result that the next stage had no room for; of all processes."""

    name: str
    busy: float
    waited_for_input: float = 0.0
    waited_for_room: float = 0.0
    processes: int = 1

    def rounded(self) -> StageTime:
        busy, starved, blocked = (round(item, 3) for item in (self.busy, self.waited_for_input, self.waited_for_room))
        return StageTime(self.name, busy, starved, blocked, self.processes)


class Stages(Generic[Result]):
    """A chain of functions as an iterator of its results, in order; `first` gives None at its end.

    An error of a stage is raised to whoever iterates, once the results of all batches ahead of it are out. Leaving the
    block ends all threads; those that compute end their batch before.
    """

    def __init__(
        self,
        name: str,
        first: Callable[[], Any],
        others: Sequence[tuple[str, Callable[[Any], Any]]],
        *,
        result: Callable[[Any], Result] = lambda value: value,
        stop: Callable[[], None] = lambda: None,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._result = result
        self._stop = stop
        self._waited = waited
        """Seconds that `first` itself has waited for others, which count as such."""
        queues = [_Queue(_DEPTH) for _ in range(len(others) + 1)]
        self._workers = [_Worker(name, lambda _: first(), None, queues[0])]
        self._workers += [_Worker(*other, *ends) for other, *ends in zip(others, queues, queues[1:], strict=False)]
        self._last = queues[-1]

    def __enter__(self) -> Self:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._interval, _SWITCH_SECONDS))
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()
        self._stop()
        interrupted = _join(self._workers)
        sys.setswitchinterval(self._interval)
        if interrupted is not None and error is None:
            raise interrupted

    def __iter__(self) -> Iterator[Result]:
        while (found := self._last.get()) is not _END:
            if isinstance(found, _Failure):
                raise found.error
            yield self._result(found)

    def times(self) -> list[StageTime]:
        """So far, in the order of the stages."""
        first, *others = self._workers
        waited = self._waited()
        return [
            StageTime(first.name, max(0.0, first.busy - waited), waited, first.waited_for_room),
            *(StageTime(item.name, item.busy, item.waited_for_input, item.waited_for_room) for item in others),
        ]


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class _Stopped(Exception):
    """Whoever would have taken the result is gone."""


class _Worker(threading.Thread):
    def __init__(self, name: str, function: Callable[[Any], Any], source: _Queue | None, target: _Queue) -> None:
        super().__init__(name=name, daemon=True)
        self._function, self._source, self._target = function, source, target
        self.busy = self.waited_for_input = self.waited_for_room = 0.0

    def run(self) -> None:
        try:
            while (value := self._next()) is not _END:
                self._hand_on(value)
            self._hand_on(_END)
        except _Stopped:
            pass

    def stop(self) -> None:
        self._target.close()

    def _next(self) -> Any:
        value = None
        began = time.perf_counter()
        if self._source is not None:
            value = self._source.get()
            self.waited_for_input += time.perf_counter() - began
        if value is _END:
            return _END
        if isinstance(value, _Failure):
            self._hand_on(value)
            return _END
        began = time.perf_counter()
        try:
            value = self._function(value)
        except BaseException as error:
            self._hand_on(_Failure(error))
            if self._source is not None:
                self._source.close()
            return _END
        finally:
            self.busy += time.perf_counter() - began
        return _END if value is None else value

    def _hand_on(self, value: Any) -> None:
        began = time.perf_counter()
        self._target.put(value)
        self.waited_for_room += time.perf_counter() - began


class _Queue:
    """Bounded; closed, it raises _Stopped to both ends."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Any) -> None:
        with self._changed:
            while len(self._items) >= self._most and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Stopped
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Any:
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Stopped
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def _join(workers: Sequence[threading.Thread]) -> KeyboardInterrupt | None:
    """Waits for all of them, whatever is typed meanwhile: one may be in the middle of a transaction."""
    interrupted = None
    for worker in workers:
        while worker.is_alive():
            try:
                worker.join()
            except KeyboardInterrupt as error:
                interrupted = error
    return interrupted
