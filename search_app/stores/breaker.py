"""Spares a server that is down, and those who wait for it: after repeated failures calls fail at once for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from search_app.errors import BackendUnavailable

log = logging.getLogger(__name__)
State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Opens after `failures` within `window` seconds; `pause` seconds later one call at a time tries again.

    Only the call that tries closes it, by succeeding. Calls that began before the last change of state decide nothing.
    Safe to use from any number of threads; the lock is not held while a call runs.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        window: float = 10.0,
        pause: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._window = window
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: deque[float] = deque(maxlen=failures)
        self._since = 0.0
        self._opened: float | None = None
        self._trying = False
        self._era = 0
        self._last = BackendUnavailable(name)

    @property
    def state(self) -> State:
        with self._lock:
            return self._state_at(self._clock())

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises BackendUnavailable at once while open; one raised inside counts as a failure.

        Any other exception says nothing about the server: it is no failure, and no success either.
        """
        era = self._enter()
        try:
            yield
        except BackendUnavailable as error:
            if self._fail(era, error):
                log.warning("%s is not asked for %.0f s: %s", self.name, self._pause, error.message)
            raise
        except BaseException:
            self._leave(era)
            raise
        if self._succeed(era):
            log.info("%s answers again", self.name)

    def _enter(self) -> int:
        with self._lock:
            now = self._clock()
            state = self._state_at(now)
            if state == "open" or self._trying:
                raise self._refusal(now)
            self._trying = state == "half-open"
            # The call that tries gets an era of its own, so that no earlier one can speak for it.
            self._era += self._trying
            return self._era

    def _fail(self, era: int, error: BackendUnavailable) -> bool:
        """True where this one opened it."""
        with self._lock:
            if era != self._era:
                return False
            now = self._clock()
            self._last = BackendUnavailable(error.message, hint=error.hint)
            self._failed.append(now)
            if not self._trying:
                if len(self._failed) < (self._failed.maxlen or 1) or now - self._failed[0] > self._window:
                    return False
                self._since = self._failed[0]
            self._opened = now
            self._trying = False
            self._era += 1
            return True

    def _succeed(self, era: int) -> bool:
        """True where this one closed it."""
        with self._lock:
            if era != self._era or not self._trying:
                return False
            self._opened = None
            self._trying = False
            self._failed.clear()
            self._era += 1
            return True

    def _leave(self, era: int) -> None:
        with self._lock:
            if era == self._era:
                self._trying = False

    def _state_at(self, now: float) -> State:
        if self._opened is None:
            return "closed"
        return "open" if now < self._opened + self._pause else "half-open"

    def _refusal(self, now: float) -> BackendUnavailable:
        left = (self._opened or 0.0) + self._pause - now
        again = "is being tried again now" if self._trying else f"will be tried again in {max(1, round(left))} s"
        return BackendUnavailable(
            f"{self.name} has been failing for {now - self._since:.0f} s and {again}; at last: {self._last.message}",
            hint=self._last.hint,
        )
