"""Questions are let in only while they can be answered in time; the others are refused at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect

from search_app.errors import TooBusy

T = TypeVar("T")

_REMEMBERED = 64
"""Answers that the pace is measured over: several batches of questions that were computed together."""


class Admission:
    """A bounded queue of questions with threads of its own, so that other requests never wait for them.

    Without it, every question would be accepted and each wait for all before it. The wait of a new question is the
    number of questions in front of it, and itself, times the seconds per answer while there was work (Little 1961).
    """

    def __init__(self, *, max_wait: float, at_once: int) -> None:
        self._max_wait = max_wait
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="question")
        self._places = asyncio.Semaphore(at_once)
        self._pace = Pace()
        self.inside = 0

    async def run(self, call: Callable[[], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """The result of `call` from a thread. Raises TooBusy at once if it would take longer than `max_wait` seconds.

        `gone` is asked whether the client is still there when the turn comes: if not, its place goes to the next.
        """
        self._admit()
        self.inside += 1
        self._pace.began()
        try:
            async with self._places:
                if await gone():
                    raise ClientDisconnect
                result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
                self._pace.answered()
                return result
        finally:
            self.inside -= 1
            if not self.inside:
                self._pace.idle()

    def close(self) -> None:
        """Wait for the running questions; those in the queue are dropped."""
        self._threads.shutdown(cancel_futures=True)

    def _admit(self) -> None:
        if not self.inside:
            return
        if self._pace.seconds is None:  # before the first answer; then a place at once is the measure
            if self.inside >= self._at_once:
                raise TooBusy(self.inside, 1)
            return
        late = (self.inside + 1) * self._pace.seconds - self._max_wait
        if late > 0:
            raise TooBusy(self.inside, math.ceil(late))


class Pace:
    """Seconds per answer, measured while there is work, over the last answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)
        self._since: float | None = None

    @property
    def seconds(self) -> float | None:
        """None before the first answer."""
        return sum(self._gaps) / len(self._gaps) if self._gaps else None

    def began(self) -> None:
        """A question came in."""
        if self._since is None:
            self._since = self._clock()

    def answered(self) -> None:
        """A question was answered. One that failed or whose client went away says nothing about the pace."""
        now = self._clock()
        if self._since is not None:
            self._gaps.append(now - self._since)
        self._since = now

    def idle(self) -> None:
        """No question is left."""
        self._since = None
