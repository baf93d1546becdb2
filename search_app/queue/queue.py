"""The queue of jobs: one SQLite file that API and workers share, on one machine or in containers over one volume.

Every change is one transaction that is on the disk before it is reported. A worker leases a job and renews the lease;
a lease ends by time, or as soon as the worker's process is known to be gone from this machine. Jobs of one collection
run one after the other, in order of arrival.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
from cronsim import CronSim, CronSimError

from search_app.errors import InvalidQuery, QueueUnavailable, SearchAppError
from search_app.settings import Settings
from search_app.types import JobKind as JobKind
from search_app.types import JobState as JobState

ATTEMPTS = 5
LISTED = 1000
"""Problems, skips and warnings that a job keeps, each."""
_BUSY_MS = 10_000
_LONGEST_WAIT = 3600.0
_VERSION = 1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EVERY_HINT = "five fields as in cron: minute hour day month weekday, such as '30 2 * * *' for 2:30 every night"

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    bytes_done INTEGER NOT NULL DEFAULT 0,
    bytes_total INTEGER,
    eta_seconds REAL,
    plan TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    problems TEXT NOT NULL DEFAULT '[]',
    skips TEXT NOT NULL DEFAULT '[]',
    warnings TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    hint TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    worker TEXT,
    lease TEXT,
    machine TEXT,
    process INTEGER,
    process_started TEXT,
    renewed REAL,
    lease_seconds REAL,
    rate_since REAL,
    rate_from INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_of_collection ON jobs (collection, seq);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (collection, seq) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended, seq) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS one_runs_in_a_collection ON jobs (collection) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS schedules (
    id TEXT PRIMARY KEY,
    collection TEXT NOT NULL,
    folder TEXT NOT NULL,
    every TEXT NOT NULL,
    next REAL NOT NULL,
    last_job TEXT NOT NULL,
    UNIQUE (collection, folder)
) STRICT;
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    process INTEGER NOT NULL,
    started TEXT NOT NULL,
    seen REAL NOT NULL
) STRICT;
PRAGMA user_version = {_VERSION};
"""
_FREE = (
    "worker = NULL, lease = NULL, machine = NULL, process = NULL, process_started = NULL, renewed = NULL,"
    " lease_seconds = NULL, rate_since = NULL, rate_from = NULL, eta_seconds = NULL"
)


class LeaseLost(SearchAppError):
    """The job is another worker's by now, or has ended; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when it was read. Times are seconds since 1970, `eta_seconds` None while nothing is known.

    `request` of an upload: {"files": [{"name", "stored", "size"}]}; of a folder: {"folder": NAME}; of a delete:
    {"documents": [...], "sources": [...], "where": {...} | None}; of a rename: {"name": NEW}. `stage` of a queued job
    says what it waits for.
    """

    id: str
    collection: str
    kind: JobKind
    request: Mapping[str, Any]
    state: JobState
    created: float
    started: float | None
    ended: float | None
    attempts: int
    stage: str
    bytes_done: int
    bytes_total: int | None
    eta_seconds: float | None
    plan: Mapping[str, int] | None
    result: Mapping[str, float] | None
    problems: Sequence[Mapping[str, str]]
    skips: Sequence[Mapping[str, str]]
    warnings: Sequence[str]
    error: str | None
    hint: str | None
    cancel_requested: bool
    not_before: float
    worker: str | None
    lease: str | None = dataclasses.field(repr=False)

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        if self.kind is JobKind.FOLDER:
            return f"folder {self.request['folder']}"
        if self.kind is JobKind.DROP:
            return f"drop collection {self.collection}"
        if self.kind is JobKind.RENAME:
            return f"rename collection to {self.request['name']}"
        if self.kind is JobKind.UPLOAD:
            files = self.request["files"]
            return str(files[0]["name"]) if len(files) == 1 else f"{len(files)} files"
        parts = [
            f"{len(names)} {kind[:-1] if len(names) == 1 else kind}"
            for kind in ("documents", "sources")
            if (names := self.request.get(kind))
        ]
        return "delete " + ", ".join([*parts, *(["by filter"] if self.request.get("where") else [])])


_JSON = ("request", "plan", "result", "problems", "skips", "warnings")
_COLUMNS = tuple(field.name for field in dataclasses.fields(Job))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A folder that is indexed again and again; `every` is cron's five fields, in this machine's time zone."""

    id: str
    collection: str
    folder: str
    every: str
    next: float
    last_job: str


@dataclass(frozen=True, slots=True)
class Worker:
    """Who leases. `machine` is where process numbers mean the same; `started` tells a number that is used again."""

    name: str
    machine: str
    process: int
    started: str

    @classmethod
    def this_process(cls) -> Worker:
        process = os.getpid()
        name = f"{socket.gethostname()}-{process}-{secrets.token_hex(3)}"
        return cls(name, _machine(), process, _started(process)[0])

    def is_gone(self) -> bool:
        """True where that is certain: only a process of this machine can be looked for."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        started, state = _started(self.process)
        return state in ("Z", "X") or bool(started and self.started and started != self.started)


class JobQueue:
    """Opened with its first use, safe from any number of threads and processes.

    Raises QueueUnavailable, which names the file, where it cannot be read or written.
    """

    def __init__(self, folder: Path, *, lease_seconds: float = 30.0, keep: int = 1000) -> None:
        self.folder = folder
        self.path = folder / "jobs.db"
        self.staging = folder / "staging"
        self._lease_seconds = lease_seconds
        self._keep = keep
        self._lock = threading.RLock()
        self._db: apsw.Connection | None = None
        self._inode = 0

    @classmethod
    def of(cls, settings: Settings) -> JobQueue:
        return cls(settings.jobs_folder, lease_seconds=settings.jobs.lease_seconds, keep=settings.jobs.keep)

    def exists(self) -> bool:
        """Whether there ever was a job; asking makes no file."""
        return os.path.exists(self.path)

    def close(self) -> None:
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    # What anyone may do

    def add(self, collection: str, kind: JobKind, request: Mapping[str, Any], *, job_id: str | None = None) -> Job:
        """Returns when the job is on the disk."""
        with self._transaction(write=True) as db:
            return self._add(db, collection, kind, request, job_id or new_id(), time.time())

    def get(self, job_id: str) -> Job | None:
        with self._transaction() as db:
            return _one(db, job_id)

    def list(self, collection: str | None = None, *, limit: int = 50, offset: int = 0) -> Sequence[Job]:
        """Newest first."""
        where, values = ("WHERE collection = ?", (collection,)) if collection is not None else ("", ())
        with self._transaction() as db:
            return _jobs(db, f"{where} ORDER BY seq DESC LIMIT ? OFFSET ?", (*values, limit, offset))

    def count(self, collection: str | None = None) -> int:
        where, values = ("WHERE collection = ?", (collection,)) if collection is not None else ("", ())
        with self._transaction() as db:
            return int(db.execute(f"SELECT count(*) FROM jobs {where}", values).get)

    def states(self) -> dict[JobState, int]:
        """How many jobs are in each state, the empty ones too."""
        with self._transaction() as db:
            found = dict(_rows(db, "SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: int(found.get(state, 0)) for state in JobState}

    def cancel(self, job_id: str) -> bool:
        """A queued job ends at once, a running one when its worker sees the request; False where it has ended."""
        with self._transaction(write=True) as db:
            job = _one(db, job_id)
            if job is None or job.state.ended:
                return False
            if job.state is JobState.QUEUED:
                self._end(db, job_id, JobState.CANCELLED)
            else:
                db.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
            return True

    # What the worker that holds a job may do. Each call renews its lease, returns the job as it is now, and raises
    # LeaseLost where it is no longer the worker's.

    def lease(self, worker: Worker) -> Job | None:
        """The oldest job that may run now; None where there is nothing to do."""
        with self._transaction(write=True) as db:
            now = time.time()
            self._take_back(db, now)
            # Of each collection the oldest that has not ended: one that runs or waits holds up those behind it.
            found = db.execute(
                "SELECT id FROM jobs AS job WHERE state = 'queued' AND (not_before <= ? OR not_before > ?)"
                " AND seq = (SELECT min(seq) FROM jobs WHERE collection = job.collection AND ended IS NULL)"
                " ORDER BY seq LIMIT 1",
                (now, now + _LONGEST_WAIT),
            ).get
            if found is None:
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', started = coalesce(started, ?1), attempts = attempts + 1,"
                " stage = '', bytes_done = 0, bytes_total = NULL, plan = 'null', not_before = 0, worker = ?2,"
                " lease = ?3, machine = ?4, process = ?5, process_started = ?6, renewed = ?1,"
                " lease_seconds = ?7 WHERE id = ?8",
                (now, worker.name, secrets.token_hex(8), worker.machine, worker.process, worker.started,
                 self._lease_seconds, found),
            )  # fmt: skip
            return _one(db, str(found))

    def renew(self, job: Job) -> Job:
        return self._change(job, "")

    def planned(self, job: Job, plan: Mapping[str, int], *, bytes_total: int | None = None) -> Job:
        """Stores what the job is going to do: added, changed, unchanged, removed, skipped, failed."""
        return self._change(job, "plan = ?, bytes_total = ?", _dumped(plan), bytes_total)

    def progress(self, job: Job, *, stage: str, bytes_done: int, bytes_total: int | None) -> Job:
        """The rest takes as long as this attempt's pace says, counted from its first report."""
        with self._transaction(write=True) as db:
            now = time.time()
            _require(db, job)
            row = db.execute("SELECT rate_since, rate_from FROM jobs WHERE id = ?", (job.id,)).get
            since, begun = row
            if since is None or bytes_done < begun or since > now:
                since, begun = now, bytes_done
            eta = None
            if bytes_total is not None and bytes_done > begun and now - since >= 1:
                eta = max(0, bytes_total - bytes_done) * (now - since) / (bytes_done - begun)
            return self._set(
                db,
                job,
                "stage = ?, bytes_done = ?, bytes_total = ?, eta_seconds = ?, rate_since = ?, rate_from = ?",
                (_clean(stage), bytes_done, bytes_total, eta, since, begun),
            )

    def finish(
        self,
        job: Job,
        state: JobState,
        *,
        result: Mapping[str, float] | None = None,
        problems: Sequence[Mapping[str, str]] = (),
        skips: Sequence[Mapping[str, str]] = (),
        warnings: Sequence[str] = (),
        error: str | None = None,
        hint: str | None = None,
    ) -> Job:
        """Ends the job as done, failed or cancelled."""
        if not state.ended:
            raise ValueError(f"{state} is no end")
        lists = [_dumped(list(items[:LISTED])) for items in (problems, skips, warnings)]
        with self._transaction(write=True) as db:
            _require(db, job)
            db.execute(
                "UPDATE jobs SET result = ?, problems = ?, skips = ?, warnings = ? WHERE id = ?",
                (_dumped(result), *lists, job.id),
            )
            self._end(db, job.id, state, error=error, hint=hint)
            return _found(db, job.id)

    def release(self, job: Job, reason: str, *, not_before: float = 0.0) -> Job:
        """Back to its place in the queue, no attempt counted; not leased before that time, an hour from now at most.

        One that was to be cancelled ends so.
        """
        with self._transaction(write=True) as db:
            current = _require(db, job)
            if current.cancel_requested:
                self._end(db, job.id, JobState.CANCELLED)
            else:
                latest = min(not_before, time.time() + _LONGEST_WAIT)
                db.execute(
                    f"UPDATE jobs SET state = 'queued', attempts = attempts - 1, stage = ?, not_before = ?, {_FREE}"
                    " WHERE id = ?",
                    (_clean(reason), latest, job.id),
                )
            return _found(db, job.id)

    # Schedules

    def schedule(self, collection: str, folder: str, every: str) -> Schedule:
        """The folder's job now, and again whenever `every` says; a folder that has a schedule gets this one instead."""
        every = " ".join(every.split())
        with self._transaction(write=True) as db:
            now = time.time()
            due = next_run(every, now)
            old = db.execute(
                "SELECT id, last_job FROM schedules WHERE collection = ? AND folder = ?", (collection, folder)
            ).get
            identity, last = old if old is not None else (new_id(), "")
            if not _is_open(db, last):
                last = self._add(db, collection, JobKind.FOLDER, {"folder": folder}, new_id(), now).id
            found = Schedule(identity, collection, folder, every, due, last)
            db.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(found))
            return found

    def schedules(self, collection: str | None = None) -> Sequence[Schedule]:
        where, values = ("WHERE collection = ?", (collection,)) if collection is not None else ("", ())
        with self._transaction() as db:
            rows = _rows(db, f"SELECT * FROM schedules {where} ORDER BY collection, folder", values)
            return [Schedule(*row) for row in rows]

    def unschedule(self, schedule_id: str) -> bool:
        """False where there is no such schedule; jobs that it queued stay."""
        with self._transaction(write=True) as db:
            db.execute("DELETE FROM schedules WHERE id = ?", (schedule_id,))
            return db.changes() > 0

    def unschedule_all(self, collection: str) -> None:
        """Remove the schedules of a collection."""
        with self._transaction(write=True) as db:
            db.execute("DELETE FROM schedules WHERE collection = ?", (collection,))

    def reassign_schedules(self, old: str, new: str) -> None:
        """Move the schedules of a collection to another name."""
        with self._transaction(write=True) as db:
            db.execute("UPDATE OR REPLACE schedules SET collection = ? WHERE collection = ?", (new, old))

    def enqueue_due(self, now: float | None = None) -> Sequence[Job]:
        """Queues what is due: runs that were missed count as one, and none is queued while the last has not ended."""
        at = time.time() if now is None else now
        if not any(schedule.next <= at for schedule in self.schedules()):
            return []
        added = []
        with self._transaction(write=True) as db:
            for schedule in [Schedule(*row) for row in _rows(db, "SELECT * FROM schedules WHERE next <= ?", (at,))]:
                last = schedule.last_job
                if not _is_open(db, last):
                    request = {"folder": schedule.folder}
                    added.append(self._add(db, schedule.collection, JobKind.FOLDER, request, new_id(), at))
                    last = added[-1].id
                db.execute(
                    "UPDATE schedules SET next = ?, last_job = ? WHERE id = ?",
                    (next_run(schedule.every, at), last, schedule.id),
                )
        return added

    # Workers

    def seen(self, worker: Worker) -> None:
        """The worker's heartbeat, at least every third of `lease_seconds`."""
        with self._transaction(write=True) as db:
            now = time.time()
            db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)", (*dataclasses.astuple(worker), now))
            db.execute("DELETE FROM workers WHERE abs(seen - ?) > 10 * ?", (now, self._lease_seconds))

    def left(self, worker: Worker) -> None:
        """The worker ends and has given back its job."""
        with self._transaction(write=True) as db:
            db.execute("DELETE FROM workers WHERE name = ?", (worker.name,))

    def workers(self) -> Sequence[Worker]:
        """Those alive."""
        with self._transaction() as db:
            rows = _rows(
                db,
                "SELECT name, machine, process, started FROM workers WHERE abs(seen - ?) <= ? ORDER BY name",
                (time.time(), self._lease_seconds),
            )
        return [worker for worker in (Worker(*row) for row in rows) if not worker.is_gone()]

    # Inside of a transaction

    def _add(
        self, db: apsw.Connection, collection: str, kind: JobKind, request: Mapping[str, Any], job_id: str, now: float
    ) -> Job:
        db.execute(
            "INSERT INTO jobs (id, collection, kind, request, state, created) VALUES (?, ?, ?, ?, 'queued', ?)",
            (job_id, collection, str(kind), _dumped(request), now),
        )
        return _found(db, job_id)

    def _change(self, job: Job, assignments: str, *values: object) -> Job:
        with self._transaction(write=True) as db:
            _require(db, job)
            return self._set(db, job, assignments, values)

    def _set(self, db: apsw.Connection, job: Job, assignments: str, values: Sequence[Any]) -> Job:
        db.execute(
            f"UPDATE jobs SET renewed = ?{', ' if assignments else ''}{assignments} WHERE id = ?",
            (time.time(), *values, job.id),
        )
        return _found(db, job.id)

    def _take_back(self, db: apsw.Connection, now: float) -> None:
        """Jobs whose worker is silent or gone are queued again, in their old place."""
        # A clock that was set back must not make a lease longer than it is.
        db.execute("UPDATE jobs SET renewed = ?1 WHERE state = 'running' AND renewed > ?1", (now,))
        running = _rows(
            db,
            "SELECT id, attempts, cancel_requested, renewed + lease_seconds, worker, machine, process, process_started"
            " FROM jobs WHERE state = 'running'",
        )
        for job_id, attempts, cancel, until, *worker in running:
            if until > now and not Worker(*worker).is_gone():
                continue
            if cancel:
                self._end(db, job_id, JobState.CANCELLED)
            elif attempts >= ATTEMPTS:
                self._end(
                    db,
                    job_id,
                    JobState.FAILED,
                    error=f"its worker died {attempts} times before it could end the job",
                    hint="see the worker's log: a file may need more memory than there is",
                )
            else:
                db.execute(f"UPDATE jobs SET state = 'queued', stage = '', {_FREE} WHERE id = ?", (job_id,))

    def _end(
        self, db: apsw.Connection, job_id: str, state: JobState, *, error: str | None = None, hint: str | None = None
    ) -> None:
        db.execute(
            f"UPDATE jobs SET state = ?, ended = ?, stage = '', error = ?, hint = ?, {_FREE} WHERE id = ?",
            (str(state), time.time(), _clean(error), _clean(hint), job_id),
        )
        db.execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended IS NOT NULL"
            " AND id NOT IN (SELECT last_job FROM schedules) ORDER BY ended DESC, seq DESC LIMIT -1 OFFSET ?)",
            (self._keep,),
        )

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[apsw.Connection]:
        with self._lock, self._translated():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _connection(self) -> apsw.Connection:
        if self._db is not None and self._inode != _inode(self.path):
            self.close()  # the folder was emptied: jobs that went into the old file would be seen by nobody
        if self._db is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._db = _connect(self.path)
            self._inode = _inode(self.path)
        return self._db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, OSError) as error:
            self.close()
            raise unavailable(self.path, error) from error


def new_id() -> str:
    """A random id: 24 hexadecimal digits."""
    return secrets.token_hex(12)


def next_run(every: str, after: float) -> float:
    """The first time later than `after` that fits, in this machine's time zone; InvalidQuery where `every` is wrong."""
    if len(every.split()) != 5 or len(every) > 200:
        raise InvalidQuery(f"not a schedule: {every[:200]!r}", hint=_EVERY_HINT, field="every")
    try:
        # Local times without a zone: of an hour that the clock repeats only the first one counts.
        for moment in CronSim(every, datetime.fromtimestamp(after)):
            if moment.timestamp() > after:
                return moment.timestamp()
    except CronSimError as error:
        raise InvalidQuery(f"not a schedule: {every!r} ({error})", hint=_EVERY_HINT, field="every") from error
    raise InvalidQuery(f"{every!r} is a time that never comes", hint=_EVERY_HINT, field="every")


def unavailable(path: Path, error: Exception) -> QueueUnavailable:
    """What SQLite or the system says of a file in the jobs folder, in this program's words."""
    if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _FULL):
        return QueueUnavailable(f"no space left for {path}", hint="free some space, then try again", full=True)
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError, apsw.SchemaChangeError)):
        return QueueUnavailable(
            f"{path} is damaged: {error}", hint="move it away and queue the jobs again; no index is touched by this"
        )
    if isinstance(error, apsw.BusyError):
        return QueueUnavailable(f"{path} is locked by another program", hint="try again")
    reason = error.strerror or error if isinstance(error, OSError) else error
    return QueueUnavailable(
        f"{path} cannot be used: {reason}",
        hint="make the folder writable for API and worker, or name another one: SEARCH_APP_JOBS__FOLDER",
    )


def remove_stale_staging(queue: JobQueue, *, older_than: float = 3600.0) -> int:
    """Removes uploads whose job has ended, and those without a job that nothing was written to for so many seconds."""
    removed = 0
    for name in os.listdir(queue.staging) if queue.staging.is_dir() else []:
        folder = queue.staging / name
        job = queue.get(name)
        with contextlib.suppress(OSError):
            if job.state.ended if job is not None else _age(folder) > older_than:
                shutil.rmtree(folder)
                removed += 1
    return removed


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(_BUSY_MS)
        _use_log(db)
        db.pragma("synchronous", "full")
        version = db.pragma("user_version")
        if version > _VERSION:
            raise QueueUnavailable(f"{path} was made by a newer version of this program", hint="update this one")
        if version < _VERSION:
            db.execute(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _use_log(db: apsw.Connection) -> None:
    """SQLite does not wait by itself while another process makes the same change to a new file."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            db.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _rows(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    return db.execute(sql, tuple(values)).fetchall()


def _jobs(db: apsw.Connection, rest: str, values: Sequence[Any]) -> list[Job]:
    return [_job(row) for row in _rows(db, f"{_SELECT} {rest}", values)]


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    values.update({name: json.loads(values[name]) for name in _JSON})
    return Job(
        **values
        | {
            "kind": JobKind(values["kind"]),
            "state": JobState(values["state"]),
            "cancel_requested": bool(values["cancel_requested"]),
        }
    )


def _one(db: apsw.Connection, job_id: str) -> Job | None:
    return next(iter(_jobs(db, "WHERE id = ?", (job_id,))), None)


def _found(db: apsw.Connection, job_id: str) -> Job:
    (job,) = _jobs(db, "WHERE id = ?", (job_id,))
    return job


def _is_open(db: apsw.Connection, job_id: str) -> bool:
    job = _one(db, job_id)
    return job is not None and not job.state.ended


def _require(db: apsw.Connection, job: Job) -> Job:
    current = _one(db, job.id)
    if current is None or current.state is not JobState.RUNNING or job.lease is None or current.lease != job.lease:
        raise LeaseLost(
            f"job {job.id} is no longer this worker's", hint="it was silent for too long: another one goes on with it"
        )
    return current


def _dumped(value: object) -> str:
    """JSON without lone surrogates, which names of files may hold and an answer over HTTP may not."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


def _clean(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _age(folder: Path) -> float:
    """Seconds since something in it was written."""
    times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    return time.time() - max(times)


@functools.cache
def _machine() -> str:
    """Where a process number means the same: this boot, and this container's numbering of processes."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _started(process: int) -> tuple[str, str]:
    """When the process began, in ticks since the boot, and its state; "" where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[19], fields[0]
