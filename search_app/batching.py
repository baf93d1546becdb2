"""Calls from several threads that become one call: a model computes a batch in little more time than one item."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class MicroBatcher(Generic[T, R]):
    """Call it with one item: items that arrive while a computation runs are computed together afterwards.

    One computation runs at a time, in the thread of one of its callers, so a lone call never waits.
    """

    def __init__(self, compute: Callable[[list[T]], Sequence[R]], *, max_items: int = 16) -> None:
        self._compute = compute
        self._max_items = max_items
        self._waiting: list[tuple[T, Future[R]]] = []
        self._guard = threading.Lock()
        self._computing = threading.Lock()

    def __call__(self, item: T) -> R:
        future: Future[R] = Future()
        with self._guard:
            self._waiting.append((item, future))
        while not future.done():
            with self._computing:
                if not future.done():
                    self._run()
        return future.result()

    def _run(self) -> None:
        with self._guard:
            batch, self._waiting = self._waiting[: self._max_items], self._waiting[self._max_items :]
        try:
            for (_, future), result in zip(batch, self._compute([item for item, _ in batch]), strict=True):
                future.set_result(result)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
