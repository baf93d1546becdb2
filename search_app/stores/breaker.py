"""A circuit breaker: after repeated failures, calls to a server fail at once for a while."""

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
    """Opens after `failures` within `window` seconds; after `pause` seconds it lets one call at a time through.

    When such a call succeeds the breaker closes. Calls that began before the last change of state are ignored.
    Thread-safe; the lock is not held during a call.
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
        """Wrap one call. Raises BackendUnavailable while open; a BackendUnavailable raised inside counts as a failure.

        Other exceptions count neither as failure nor as success.
        """
        era = self._enter()
        try:
            yield
        except BackendUnavailable as error:
            if self._fail(era, error):
                log.warning("%s: no requests for %.0f s: %s", self.name, self._pause, error.message)
            raise
        except BaseException:
            self._leave(era)
            raise
        if self._succeed(era):
            log.info("%s is back", self.name)

    def _enter(self) -> int:
        with self._lock:
            now = self._clock()
            state = self._state_at(now)
            if state == "open" or self._trying:
                raise self._refusal(now)
            self._trying = state == "half-open"
            # The trial call gets its own era, so that no earlier call counts for it.
            self._era += self._trying
            return self._era

    def _fail(self, era: int, error: BackendUnavailable) -> bool:
        """Whether this failure opened the breaker."""
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
        """Whether this success closed the breaker."""
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
