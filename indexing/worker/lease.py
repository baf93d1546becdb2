"""A job that this worker holds: its lease is renewed while it runs, and its progress told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from search_app.errors import QueueUnavailable
from search_app.queue import queue as jobs
from search_app.queue.queue import Job, JobQueue, LeaseLost

_REPORT_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The worker is to end."""


class Cancelled(Exception):
    """Whoever queued the job has called it off."""


@dataclass
class JobLease:
    """A job that is ours: renewed from a thread, and asked at every step whether to go on."""

    queue: JobQueue
    worker: jobs.Worker
    job: Job
    seconds: float
    stopping: threading.Event
    done: int = 0
    total: int | None = None
    _stage: str = ""
    _reported: float = 0.0
    _cancelled: bool = False
    _lost: LeaseLost | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raises LeaseLost, Cancelled or Stopped where the job must not go on."""
        if self._lost is not None:
            raise self._lost
        if self._cancelled:
            raise Cancelled
        if self.stopping.is_set():
            raise Stopped

    def planned(self, plan: Mapping[str, int], *, total: int | None) -> None:
        self.done, self.total = 0, total
        self._tell(lambda: self.queue.planned(self.job, plan, bytes_total=total))

    def stage(self, name: str) -> None:
        self._stage, self._reported = name, 0.0
        self.advance(0)

    def advance(self, size: int) -> None:
        self.done += size
        if time.monotonic() - self._reported >= _REPORT_SECONDS or self.done == self.total:
            self._reported = time.monotonic()
            self._tell(
                lambda: self.queue.progress(self.job, stage=self._stage, bytes_done=self.done, bytes_total=self.total)
            )
        self.check()

    def _tell(self, change: Callable[[], Job]) -> None:
        """A queue that cannot be written to for a while costs the job nothing but its progress."""
        try:
            self._cancelled |= change().cancel_requested
        except QueueUnavailable as error:
            _log.warning("job=%s progress is not stored: %s", self.job.id, error)
        self.check()

    def _renew(self) -> None:
        while not self._over.wait(self.seconds / 3):
            try:
                self.queue.seen(self.worker)
                self._cancelled |= self.queue.renew(self.job).cancel_requested
            except LeaseLost as error:
                self._lost = error
                return
            except QueueUnavailable as error:
                _log.warning("job=%s lease is not renewed: %s", self.job.id, error)
