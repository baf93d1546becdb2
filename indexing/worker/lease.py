"""The lease of the job that a worker runs: renewed in the background, progress stored, stop and cancel noticed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from search_app.errors import QueueUnavailable
from search_app.leases import Heartbeat
from search_app.queue.jobs import Job, LeaseLost, WorkerIdentity
from search_app.queue.queue import JobQueue

_REPORT_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The worker has to stop."""


class Cancelled(Exception):
    """The job was cancelled."""


@dataclass
class JobLease:
    """Renews the lease inside a `with` block. Each method raises LeaseLost, Cancelled or Stopped if the job must end.

    `done` and `total` are bytes; `total` is None if unknown.
    """

    queue: JobQueue
    worker: WorkerIdentity
    job: Job
    seconds: float
    stopping: threading.Event
    done: int = 0
    total: int | None = None
    _stage: str = ""
    _reported: float = 0.0
    _cancelled: bool = False
    _lost: LeaseLost | None = None

    def __enter__(self) -> Self:
        self._heartbeat = Heartbeat(self._renew, seconds=self.seconds / 3)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.stop()

    def check(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._cancelled:
            raise Cancelled
        if self.stopping.is_set():
            raise Stopped

    def set_plan(self, plan: Mapping[str, int], *, total: int | None) -> None:
        self.done, self.total = 0, total
        self._store(lambda: self.queue.set_plan(self.job, plan, bytes_total=total))

    def set_stage(self, name: str) -> None:
        self._stage, self._reported = name, 0.0
        self.advance(0)

    def advance(self, size: int) -> None:
        """Add bytes to `done`; stored every half second."""
        self.done += size
        if time.monotonic() - self._reported >= _REPORT_SECONDS or self.done == self.total:
            self._reported = time.monotonic()
            self._store(
                lambda: self.queue.set_progress(
                    self.job, stage=self._stage, bytes_done=self.done, bytes_total=self.total
                )
            )
        self.check()

    def _store(self, change: Callable[[], Job]) -> None:
        """If the queue cannot be written to, the job goes on without its progress being stored."""
        try:
            self._cancelled |= change().cancel_requested
        except QueueUnavailable as error:
            _log.warning("job=%s cannot store progress: %s", self.job.id, error)
        self.check()

    def _renew(self) -> bool:
        try:
            self.queue.heartbeat(self.worker)
            self._cancelled |= self.queue.renew(self.job).cancel_requested
        except LeaseLost as error:
            self._lost = error
            return False
        except QueueUnavailable as error:
            _log.warning("job=%s cannot renew its lease: %s", self.job.id, error)
        return True
