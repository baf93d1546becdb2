"""The worker: leases jobs from the queue, runs them one at a time and stores their results."""

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
from search_app.queue.jobs import MAX_REPORTED, Job, JobState, LeaseLost, WorkerIdentity
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules
from search_app.queue.staging import remove_stale_staging
from search_app.settings import Settings

_IDLE_SECONDS = 0.5
_GRACE_SECONDS = 4.0
"""For the current batch after SIGTERM. Docker kills a container after 10 seconds."""
_RETRY_SECONDS = 2.0
_CLEANUP_SECONDS = 60.0
_STOPPED = "its worker stopped"

_log = logging.getLogger(__name__)


class Worker:
    """Runs jobs until `stop`, or with `once` until no job is left. `echo` gets a line at each job's start and end."""

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        *,
        load_encoder: Callable[[Settings], Encoder],
        echo: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._echo = echo
        self._handlers = JobHandlers(settings, queue.staging, load_encoder)
        self._running: JobLease | None = None
        self._identity = WorkerIdentity.of_this_process()
        self._stopping = threading.Event()
        self._cleaned = 0.0

    def stop(self) -> None:
        """Stop after the current batch. Its job goes back to the queue."""
        self._stopping.set()

    def exit_now(self) -> None:
        """Release the job and end this process without waiting for the batch."""
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
                    self._queue.heartbeat(self._identity)
                    seen = time.monotonic()
                Schedules(self._queue).enqueue_due()
                leased = self._queue.lease(self._identity)
                if leased is not None or time.monotonic() - self._cleaned >= _CLEANUP_SECONDS:
                    self._clean_up()
            except SearchAppError as error:
                _log.error("queue unavailable: %s", error)
                self._stopping.wait(_RETRY_SECONDS)
                continue
            if leased is not None:
                self._work(leased)
            elif once and self._is_empty():
                break
            else:
                self._stopping.wait(_IDLE_SECONDS)
        with contextlib.suppress(QueueUnavailable):
            self._queue.remove_worker(self._identity)

    def _is_empty(self) -> bool:
        try:
            states = self._queue.count_by_state()
        except QueueUnavailable:
            return False
        return not states[JobState.QUEUED] and not states[JobState.RUNNING]

    def _work(self, leased: Job) -> None:
        began = time.monotonic()
        self._echo(f"{leased.id} started: {leased.title}, collection '{leased.collection}'")
        lease = JobLease(self._queue, self._identity, leased, self._settings.jobs.lease_seconds, self._stopping)
        self._running = lease
        ended = self._persist(leased, self._run(lease))
        self._running = None
        if ended is None:
            return
        if ended.state.ended:
            Upload(self._queue.staging / leased.id, Library(self._settings, leased.collection)).discard()
        _log.info(
            "job=%s collection=%s kind=%s state=%s seconds=%.1f",
            ended.id, ended.collection, ended.kind, ended.state, time.monotonic() - began,
        )  # fmt: skip
        self._echo(_summary(ended))

    def _run(self, lease: JobLease) -> Callable[[], Job]:
        """Run the job. Returns the change that stores its end in the queue."""
        queue, leased = self._queue, lease.job
        error: SearchAppError
        try:
            with lease:
                outcome = self._handlers.run(lease)
            return lambda: queue.finish(
                leased,
                JobState.FAILED if outcome.error else JobState.DONE,
                result={**outcome.counts, "formats": list(map(asdict, outcome.formats[:MAX_REPORTED]))},
                problems=[asdict(problem) for problem in outcome.problems[:MAX_REPORTED]],
                skips=[asdict(skip) for skip in outcome.skips[:MAX_REPORTED]],
                warnings=[f"{warning.source}: {warning.reason}" for warning in outcome.warnings[:MAX_REPORTED]],
                error=outcome.error.message if outcome.error else None,
                hint=outcome.error.hint if outcome.error else None,
            )
        except LeaseLost:
            return lambda: queue.renew(leased)  # raises LeaseLost again
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
            error = SearchAppError(f"{type(unknown).__name__}: {unknown}", hint="see the traceback in the worker's log")
        return lambda: queue.finish(leased, JobState.FAILED, error=error.message, hint=error.hint)

    def _persist(self, leased: Job, change: Callable[[], Job]) -> Job | None:
        """Retry until the change is stored. None if another worker has the job, or this one has to stop."""
        while True:
            try:
                return change()
            except LeaseLost:
                _log.warning("job=%s lost its lease", leased.id)
                self._echo(f"{leased.id} was taken over by another worker")
                return None
            except QueueUnavailable as error:
                _log.error("job=%s cannot store its end: %s", leased.id, error)
                if self._stopping.wait(_RETRY_SECONDS):
                    return None

    def _clean_up(self) -> None:
        """Finish or undo the uploads of dead workers' jobs, and empty the staging folder."""
        self._cleaned = time.monotonic()
        folders = sorted(self._queue.staging.iterdir()) if self._queue.staging.is_dir() else []
        for folder in folders:
            owner = self._queue.get(folder.name)
            if owner is None or not owner.state.ended:
                continue
            upload = Upload(folder, Library(self._settings, owner.collection))
            try:
                if upload.has_journal():
                    upload.load_journal()
                    self._handlers.complete(upload, owner.collection)
            except Exception:
                _log.exception("job=%s cannot clean up its uploaded files", owner.id)
                return
        remove_stale_staging(self._queue)


@contextmanager
def stopped_by_signals(worker: Worker) -> Iterator[None]:
    """Stop the worker on SIGTERM or Ctrl-C, at once on a second Ctrl-C. Main thread only."""
    timer = threading.Timer(_GRACE_SECONDS, worker.exit_now)
    timer.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if not timer.is_alive():
            worker.stop()
            timer.start()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _summary(ended: Job) -> str:
    if ended.state is JobState.QUEUED:
        return f"{ended.id} goes back to the queue: {ended.stage}"
    counts = ended.result or {}
    shown = ("deleted", "added", "changed", "unchanged", "removed", "skipped", "failed")
    parts = [f"{counts[name]:g} {name}" for name in shown if counts.get(name)]
    if counts.get("seconds"):
        parts.append(f"in {counts['seconds']:.1f} s")
    line = f"{ended.id} {ended.state}" + (f": {', '.join(parts)}" if parts else "")
    return f"{line}; {ended.error}" if ended.error else line
