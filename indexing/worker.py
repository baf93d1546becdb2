"""Runs the jobs of the queue, one after the other: leases, does, reports, and survives what a job brings with it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from indexing import deletion, job, sources
from indexing.library import Library, Upload, write_journal
from indexing.sources import Skip, SourceFile
from indexing.work import Work
from search_app import jobs
from search_app.errors import ConfigurationError, IndexBusy, IndexNotFound, QueueUnavailable, SearchAppError
from search_app.jobs import Job, JobKind, JobQueue, JobState, LeaseLost
from search_app.protocols import Encoder, FileRecord
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog

_IDLE_SECONDS = 0.5
_REPORT_SECONDS = 0.5
_PATIENCE_SECONDS = 4.0
"""What a batch may take after a signal to end before it is cut off; containers are killed after ten."""
_FAULT_SECONDS = 2.0
_TIDY_SECONDS = 60.0
_DELETION = "deletion.json"

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The worker is to end."""


class _Cancelled(Exception):
    """Whoever queued the job has called it off."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job did; `error` where nothing of it could be done."""

    counts: Mapping[str, float]
    problems: Sequence[Skip] = ()
    skips: Sequence[Skip] = ()
    warnings: Sequence[Skip] = ()
    error: SearchAppError | None = None


@dataclass
class _Lease:
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
        """Raises LeaseLost, _Cancelled or Stopped where the job must not go on."""
        if self._lost is not None:
            raise self._lost
        if self._cancelled:
            raise _Cancelled
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
        self._load_encoder = load_encoder
        self._say = say
        self._encoder: Encoder | None = None
        self._identity = jobs.Worker.this_process()
        self._stopping = threading.Event()
        self._tidied = 0.0
        self.is_indexing = False
        """Whether `Stopped` may be raised at any point of what the main thread does now."""

    def stop(self) -> None:
        """The job that runs is given back with the next batch."""
        self._stopping.set()

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
            except QueueUnavailable as error:
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
        lease = _Lease(self._queue, self._identity, leased, self._settings.jobs.lease_seconds, self._stopping)
        change = self._run(lease)
        if change is None:
            self._say(f"{leased.id} is another worker's by now")
            return
        ended = self._persist(leased, change)
        if ended is None:
            return
        if ended.state.ended:
            Upload(self._queue.staging / leased.id, Library(self._settings, leased.collection)).discard()
        _log.info(
            "job=%s collection=%s kind=%s state=%s seconds=%.1f",
            ended.id, ended.collection, ended.kind, ended.state, time.monotonic() - began,
        )  # fmt: skip
        self._say(_in_words(ended))

    def _run(self, lease: _Lease) -> Callable[[], Job] | None:
        """Does the job; what is then to be said to the queue, nothing where the job is no longer ours."""
        queue, leased = self._queue, lease.job
        kinds = {JobKind.UPLOAD: self._upload, JobKind.FOLDER: self._folder, JobKind.DELETE: self._delete}
        error: SearchAppError
        try:
            with lease:
                outcome = kinds[leased.kind](lease)
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
            _log.warning("job=%s lease was lost", leased.id)
            return None
        except _Cancelled:
            return lambda: queue.finish(leased, JobState.CANCELLED)
        except Stopped:
            return lambda: queue.release(leased, "its worker was stopped")
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
                _log.warning("job=%s lease was lost before its end could be stored", leased.id)
                self._say(f"{leased.id} is another worker's by now")
                return None
            except QueueUnavailable as error:
                _log.error("job=%s its end cannot be stored: %s", leased.id, error)
                if self._stopping.wait(_FAULT_SECONDS):
                    return None

    # Kinds of jobs

    def _upload(self, lease: _Lease) -> Outcome:
        library = Library(self._settings, lease.job.collection)
        upload = Upload(self._queue.staging / lease.job.id, library)
        lease.stage("reading")
        try:
            upload.prepare(lease.job.request["files"], self._settings.jobs)
            paths = upload.put()
            lease.check()
            summary = self._apply(lease, paths, base=library.folder) if paths else None
        except LeaseLost:
            raise
        except Exception:
            self._settle(upload, lease.job.collection)
            raise
        self._settle(upload, lease.job.collection)
        journal = upload.journal
        counts = _counts(summary)
        counts["skipped"] += len(journal.skips)
        counts["failed"] += len(journal.problems)
        problems = [*journal.problems, *(summary.problems if summary else ())]
        error = None
        if problems and not counts["added"] + counts["changed"] + counts["unchanged"]:
            first = f"{problems[0].source}: {problems[0].reason}"
            error = SearchAppError(
                f"nothing of this upload could be indexed: {first}", hint="the index is as it was; upload it mended"
            )
        return Outcome(
            counts,
            problems,
            [*journal.skips, *(summary.skips if summary else ())],
            summary.warnings if summary else (),
            error,
        )

    def _folder(self, lease: _Lease) -> Outcome:
        name = str(lease.job.request["folder"])
        path = self._settings.jobs.folders.get(name)
        if path is None:
            raise ConfigurationError(
                f"no folder is named '{name}'", hint="name it for API and worker in SEARCH_APP_JOBS__FOLDERS"
            )
        if "://" not in path:
            path = os.path.abspath(path)
            if not os.path.isdir(path):
                raise SearchAppError(f"folder '{name}' is not there: {path}", hint="mount it, then queue the job again")

        def guard(work: Work) -> None:
            found = work.counts
            if found.removed and not found.added + found.changed + found.unchanged:
                raise SearchAppError(
                    f"folder '{name}' ({path}) holds none of the files that were indexed from it: is it not mounted?",
                    hint="nothing was removed; if they are gone for good:"
                    f" search-index apply --collection {lease.job.collection} {path}",
                )

        lease.stage("reading")
        summary = self._apply(lease, [path], guard=guard)
        return Outcome(_counts(summary), summary.problems, summary.skips, summary.warnings)

    def _delete(self, lease: _Lease) -> Outcome:
        """What is to be deleted is settled once: documents that come later are not meant, even after a kill."""
        settings, collection = self._settings, lease.job.collection
        journal = self._queue.staging / lease.job.id / _DELETION
        lease.stage("reading")
        if not journal.exists():
            write_journal(journal, self._to_delete(lease.job))
        chosen = json.loads(journal.read_bytes())
        lease.planned(dict.fromkeys(_PLANNED, 0) | {"removed": len(chosen["documents"])}, total=None)
        lease.stage("removing")
        began = time.monotonic()
        if chosen["documents"]:
            found = deletion.select(settings, collection=collection, documents=chosen["documents"])
            deletion.remove(settings, found, collection=collection)
            self._remove_originals(collection, chosen["files"])
        counts = _counts(None) | {"deleted": len(chosen["documents"]), "seconds": round(time.monotonic() - began, 3)}
        return Outcome(counts, [Skip(id, "there is no such document") for id in chosen["missing"]])

    def _to_delete(self, leased: Job) -> dict[str, list[str]]:
        request, library = leased.request, Library(self._settings, leased.collection)
        found = deletion.select(
            self._settings,
            collection=leased.collection,
            documents=request.get("documents") or (),
            sources=request.get("sources") or (),
            where=request.get("where"),
        )
        with closing(open_catalog(self._settings)) as catalog, closing(catalog.open(leased.collection)) as index:
            records = (index.file_of(document.id) for document in found.documents)
            files = {record.path for record in records if record is not None and library.holds(record.path)}
        return {
            "documents": [document.id for document in found.documents],
            "missing": list(found.missing),
            "files": sorted(files),
        }

    def _remove_originals(self, collection: str, files: Sequence[str]) -> None:
        """Uploaded files none of whose documents is left, so that the same file can be uploaded again."""
        known = self._records(collection, files)
        empty = [path for path in files if path not in known or not known[path].documents]
        if forgotten := [path for path in empty if path in known]:
            with closing(open_catalog(self._settings)) as catalog:
                with closing(catalog.open(collection)) as index:
                    manifest = index.manifest
                with catalog.writer(collection, manifest) as writer:
                    writer.remove_files(forgotten)
                    writer.finish()
        Library(self._settings, collection).remove(empty)

    def _apply(
        self,
        lease: _Lease,
        paths: Sequence[str | Path],
        *,
        base: Path | None = None,
        guard: Callable[[Work], None] = lambda work: None,
    ) -> job.Summary:
        removals = 0

        def start(work: Work) -> None:
            nonlocal removals
            guard(work)
            removals = work.counts.removed
            lease.planned(asdict(work.counts), total=work.bytes)
            lease.stage("indexing")

        def progress(size: int) -> None:
            if removals and lease.total is not None and lease.done + size >= lease.total:
                lease.done += size
                lease.stage("removing")
            else:
                lease.advance(size)

        with self._interruptible():
            encoder = self._loaded()
            lease.check()
            return job.apply(
                paths,
                settings=self._settings,
                encoder=encoder,
                collection=lease.job.collection,
                base=base,
                start=start,
                progress=progress,
            )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        self.is_indexing = True
        try:
            yield
        finally:
            self.is_indexing = False

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = self._load_encoder(self._settings)
        return self._encoder

    # Uploaded files

    def _settle(self, upload: Upload, collection: str) -> None:
        """After it the library holds what the index knows, however the job went."""
        if not upload.is_unsettled():
            return
        known = self._records(collection, [str(path) for path in upload.indexed_paths()])

        def is_indexed(path: Path) -> bool:
            record = known.get(str(path))
            if record is None:
                return False
            return not record.digest or record.digest == _digest(path)  # without one a part of it has come already

        upload.settle(is_indexed)

    def _records(self, collection: str, paths: Sequence[str]) -> dict[str, FileRecord]:
        wanted = set(paths)
        with closing(open_catalog(self._settings)) as catalog:
            try:
                index = catalog.open(collection)
            except IndexNotFound:
                return {}
            with closing(index):
                return {record.path: record for record in index.files() if record.path in wanted}

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
                    self._settle(upload, owner.collection)
            except SearchAppError as error:
                _log.error("job=%s left files that cannot be put back now: %s", owner.id, error)
                return
        jobs.remove_stale_staging(self._queue)


@contextmanager
def ended_by_signals(worker: Worker) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the batch and then the worker, a second Ctrl-C ends it at once. For the main thread."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True
        worker.stop()
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_SECONDS)

    def cut_off(number: int, frame: FrameType | None) -> None:
        if worker.is_indexing:
            raise Stopped
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_SECONDS / 20)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGALRM: cut_off}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


_PLANNED = ("added", "changed", "unchanged", "removed", "skipped", "failed")


def _counts(summary: job.Summary | None) -> dict[str, float]:
    names = (*_PLANNED, "passages", "passages_encoded", "seconds")
    return {name: getattr(summary, name) if summary else 0 for name in names} | {"deleted": 0}


def _digest(path: Path) -> str | None:
    try:
        return sources.digest(sources.refreshed(SourceFile(str(path), "", "", 0, 0, 0)))
    except OSError:
        return None


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
