"""Runs the jobs of the queue, one after the other: leases, does, reports, and survives what a job brings with it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

from indexing.worker.handlers import JobHandlers
from indexing.worker.lease import Cancelled, JobLease, Stopped
from indexing.worker.library import Library, Upload
from search_app.errors import IndexBusy, QueueUnavailable, SearchAppError
from search_app.protocols import Encoder
from search_app.queue import queue as jobs
from search_app.queue.queue import Job, JobQueue, JobState, LeaseLost
from search_app.settings import Settings

_IDLE_SECONDS = 0.5
_PATIENCE_SECONDS = 4.0
"""What a batch may take after a signal to end before it is cut off; containers are killed after ten."""
_FAULT_SECONDS = 2.0
_TIDY_SECONDS = 60.0
_STOPPED = "its worker was stopped"

_log = logging.getLogger(__name__)


class Worker:
    """`run` returns when `stop` was called, or once there is nothing left to do. `say` is told of each job."""

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        *,
        load_encoder: Callable[[Settings], Encoder],
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._say = say
        self._kinds = JobHandlers(settings, queue.staging, load_encoder)
        self._running: JobLease | None = None
        self._identity = jobs.Worker.this_process()
        self._stopping = threading.Event()
        self._tidied = 0.0

    def stop(self) -> None:
        """The job that runs is given back with the next batch."""
        self._stopping.set()

    def cut_off(self) -> None:
        """Gives the job back and ends this process in the middle of it, as a kill may do at any time."""
        running = self._running
        if running is not None:
            with contextlib.suppress(SearchAppError):
                self._queue.release(running.job, _STOPPED)
        os._exit(0)

    def run(self, *, once: bool = False) -> None:
        seen = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() - seen >= self._settings.jobs.lease_seconds / 3 or not seen:
                    self._queue.seen(self._identity)
                    seen = time.monotonic()
                self._queue.enqueue_due()
                leased = self._queue.lease(self._identity)
                if leased is not None or time.monotonic() - self._tidied >= _TIDY_SECONDS:
                    self._tidy()
            except SearchAppError as error:
                _log.error("the queue cannot be used: %s", error)
                self._stopping.wait(_FAULT_SECONDS)
                continue
            if leased is not None:
                self._work(leased)
            elif once and self._is_empty():
                break
            else:
                self._stopping.wait(_IDLE_SECONDS)
        with contextlib.suppress(QueueUnavailable):
            self._queue.left(self._identity)

    def _is_empty(self) -> bool:
        try:
            states = self._queue.states()
        except QueueUnavailable:
            return False
        return not states[JobState.QUEUED] and not states[JobState.RUNNING]

    def _work(self, leased: Job) -> None:
        began = time.monotonic()
        self._say(f"{leased.id} started: {leased.title}, collection '{leased.collection}'")
        lease = JobLease(self._queue, self._identity, leased, self._settings.jobs.lease_seconds, self._stopping)
        self._running = lease
        change = self._run(lease)
        ended = self._persist(leased, change)
        self._running = None
        if ended is None:
            return
        if ended.state.ended:
            Upload(self._queue.staging / leased.id, Library(self._settings, leased.collection)).discard()
        _log.info(
            "job=%s collection=%s kind=%s state=%s seconds=%.1f",
            ended.id, ended.collection, ended.kind, ended.state, time.monotonic() - began,
        )  # fmt: skip
        self._say(_in_words(ended))

    def _run(self, lease: JobLease) -> Callable[[], Job]:
        """Does the job; what is then to be said to the queue."""
        queue, leased = self._queue, lease.job
        error: SearchAppError
        try:
            with lease:
                outcome = self._kinds.do(lease)
            return lambda: queue.finish(
                leased,
                JobState.FAILED if outcome.error else JobState.DONE,
                result=outcome.counts,
                problems=[asdict(problem) for problem in outcome.problems[: jobs.LISTED]],
                skips=[asdict(skip) for skip in outcome.skips[: jobs.LISTED]],
                warnings=[f"{warning.source}: {warning.reason}" for warning in outcome.warnings[: jobs.LISTED]],
                error=outcome.error.message if outcome.error else None,
                hint=outcome.error.hint if outcome.error else None,
            )
        except LeaseLost:
            return lambda: queue.renew(leased)  # which says so again
        except Cancelled:
            return lambda: queue.finish(leased, JobState.CANCELLED)
        except Stopped:
            return lambda: queue.release(leased, _STOPPED)
        except IndexBusy as busy:
            reason, until = busy.message, time.time() + self._settings.jobs.lease_seconds / 6
            return lambda: queue.release(leased, reason, not_before=until)
        except SearchAppError as known:
            error = known
        except Exception as unknown:
            _log.exception("job=%s failed", leased.id)
            error = SearchAppError(f"{type(unknown).__name__}: {unknown}", hint="see the worker's log for the place")
        return lambda: queue.finish(leased, JobState.FAILED, error=error.message, hint=error.hint)

    def _persist(self, leased: Job, change: Callable[[], Job]) -> Job | None:
        """Tries until it stands in the queue; None where another worker has the job or this one must end."""
        while True:
            try:
                return change()
            except LeaseLost:
                _log.warning("job=%s lease was lost", leased.id)
                self._say(f"{leased.id} is another worker's by now")
                return None
            except QueueUnavailable as error:
                _log.error("job=%s its end cannot be stored: %s", leased.id, error)
                if self._stopping.wait(_FAULT_SECONDS):
                    return None

    def _tidy(self) -> None:
        """Ends what the jobs of workers that died have left in library and staging."""
        self._tidied = time.monotonic()
        folders = sorted(self._queue.staging.iterdir()) if self._queue.staging.is_dir() else []
        for folder in folders:
            owner = self._queue.get(folder.name)
            if owner is None or not owner.state.ended:
                continue
            upload = Upload(folder, Library(self._settings, owner.collection))
            try:
                if upload.is_unsettled():
                    upload.resume()
                    self._kinds.settle(upload, owner.collection)
            except Exception:
                _log.exception("job=%s left files that cannot be put back now", owner.id)
                return
        jobs.remove_stale_staging(self._queue)


@contextmanager
def ended_by_signals(worker: Worker) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the batch and then the worker, a second Ctrl-C ends it at once. For the main thread."""
    cut_off = threading.Timer(_PATIENCE_SECONDS, worker.cut_off)
    cut_off.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if not cut_off.is_alive():
            worker.stop()
            cut_off.start()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        cut_off.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_words(ended: Job) -> str:
    if ended.state is JobState.QUEUED:
        return f"{ended.id} goes back into the queue: {ended.stage}"
    counts = ended.result or {}
    shown = ("deleted", "added", "changed", "unchanged", "removed", "skipped", "failed")
    parts = [f"{counts[name]:g} {name}" for name in shown if counts.get(name)]
    if counts.get("seconds"):
        parts.append(f"in {counts['seconds']:.1f} s")
    said = f"{ended.id} {ended.state}" + (f": {', '.join(parts)}" if parts else "")
    return f"{said}; {ended.error}" if ended.error else said
