"""The queue of jobs. Each change is one transaction, on disk before it returns.

Jobs of one collection run one at a time, oldest first; jobs of different collections run side by side. A worker leases
a job and renews the lease. A lease ends when it expires, or at once if its process is known to be gone.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from search_app.leases import ProcessIdentity
from search_app.queue.database import Database
from search_app.queue.jobs import MAX_REPORTED, Job, JobKind, JobState, LeaseLost, WorkerIdentity, new_id
from search_app.queue.schema import NO_LEASE
from search_app.settings import Settings

MAX_ATTEMPTS = 5
_MAX_WAIT_SECONDS = 3600.0
_JSON = ("request", "plan", "result", "problems", "skips", "warnings")
_COLUMNS = tuple(field.name for field in dataclasses.fields(Job))


class JobQueue:
    """Opened on first use; safe for any number of threads and processes.

    Keeps the last `keep` ended jobs. Raises QueueUnavailable, which names the file, if it cannot be read or written.
    """

    def __init__(
        self, folder: Path, *, lease_seconds: float = 30.0, keep: int = 1000, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self.staging = folder / "staging"
        self.database = Database(folder / "jobs.db")
        self.clock = clock
        self._lease_seconds = lease_seconds
        self._keep = keep

    @classmethod
    def from_settings(cls, settings: Settings) -> JobQueue:
        return cls(settings.jobs_folder, lease_seconds=settings.jobs.lease_seconds, keep=settings.jobs.keep)

    @property
    def path(self) -> Path:
        return self.database.path

    def exists(self) -> bool:
        """True if a job was ever queued. Does not create the file."""
        return self.path.exists()

    def close(self) -> None:
        self.database.close()

    # For everyone

    def enqueue(self, collection: str, kind: JobKind, request: Mapping[str, Any], *, job_id: str | None = None) -> Job:
        """Returns when the job is on disk. `request`: see Job."""
        with self.database.transaction(write=True) as db:
            return insert_job(db, collection, kind, request, job_id or new_id(), self.clock())

    def get(self, job_id: str) -> Job | None:
        with self.database.transaction() as db:
            return find_job(db, job_id)

    def list(self, collection: str | None = None, *, limit: int = 50, offset: int = 0) -> Sequence[Job]:
        """Newest first."""
        where, values = within(collection)
        with self.database.transaction() as db:
            return _select(db, f"{where} ORDER BY seq DESC LIMIT ? OFFSET ?", (*values, limit, offset))

    def count(self, collection: str | None = None) -> int:
        where, values = within(collection)
        with self.database.transaction() as db:
            return int(db.execute(f"SELECT count(*) FROM jobs {where}", values).get)

    def count_by_state(self) -> dict[JobState, int]:
        """For every state, 0 included."""
        with self.database.transaction() as db:
            counts = dict(_rows(db, "SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: counts.get(state, 0) for state in JobState}

    def cancel(self, job_id: str) -> bool:
        """End a queued job at once; ask the worker of a running one to stop. False if it has ended or is unknown."""
        with self.database.transaction(write=True) as db:
            job = find_job(db, job_id)
            if job is None or job.state.ended:
                return False
            if job.state is JobState.QUEUED:
                self._end(db, job_id, JobState.CANCELLED)
            else:
                db.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
            return True

    # For workers. All but `lease` return the job as stored, and raise LeaseLost if the worker no longer has it;
    # `renew`, `set_plan` and `set_progress` renew the lease.

    def lease(self, worker: WorkerIdentity) -> Job | None:
        """Take the oldest job that may run now, or None."""
        with self.database.transaction(write=True) as db:
            now = self.clock()
            self._requeue_abandoned(db, now)
            # The oldest open job of a collection, running or waiting, holds up those behind it.
            job_id = db.execute(
                "SELECT id FROM jobs AS job WHERE state = 'queued' AND (not_before <= ? OR not_before > ?)"
                " AND seq = (SELECT min(seq) FROM jobs WHERE collection = job.collection AND ended IS NULL)"
                " ORDER BY seq LIMIT 1",
                (now, now + _MAX_WAIT_SECONDS),
            ).get
            if job_id is None:
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', started = coalesce(started, ?1), attempts = attempts + 1,"
                " stage = '', bytes_done = 0, bytes_total = NULL, plan = 'null', not_before = 0, worker = ?2,"
                " lease = ?3, machine = ?4, process = ?5, process_started = ?6, renewed = ?1,"
                " lease_seconds = ?7 WHERE id = ?8",
                (now, worker.name, secrets.token_hex(8), *dataclasses.astuple(worker.process),
                 self._lease_seconds, job_id),
            )  # fmt: skip
            return find_job(db, job_id)

    def renew(self, job: Job) -> Job:
        return self._update(job, lambda db, now: {})

    def set_plan(self, job: Job, plan: Mapping[str, int], *, bytes_total: int | None = None) -> Job:
        """Store the numbers of files to be added, changed, unchanged, removed, skipped and failed."""
        return self._update(job, lambda db, now: {"plan": _to_json(plan), "bytes_total": bytes_total})

    def set_progress(self, job: Job, *, stage: str, bytes_done: int, bytes_total: int | None) -> Job:
        """Store the progress and estimate the remaining time from this attempt's average rate."""

        def values(db: apsw.Connection, now: float) -> dict[str, Any]:
            since, start = db.execute("SELECT rate_since, rate_from FROM jobs WHERE id = ?", (job.id,)).get
            if since is None or bytes_done < start or since > now:
                since, start = now, bytes_done
            eta = None
            if bytes_total is not None and bytes_done > start and now - since >= 1:
                eta = max(0, bytes_total - bytes_done) * (now - since) / (bytes_done - start)
            return {
                "stage": _to_utf8(stage),
                "bytes_done": bytes_done,
                "bytes_total": bytes_total,
                "eta_seconds": eta,
                "rate_since": since,
                "rate_from": start,
            }

        return self._update(job, values)

    def finish(
        self,
        job: Job,
        state: JobState,
        *,
        result: Mapping[str, Any] | None = None,
        problems: Sequence[Mapping[str, str]] = (),
        skips: Sequence[Mapping[str, str]] = (),
        warnings: Sequence[str] = (),
        error: str | None = None,
        hint: str | None = None,
    ) -> Job:
        """End the job as done, failed or cancelled."""
        if not state.ended:
            raise ValueError(f"a job cannot end as {state}")
        reports = [_to_json(list(items[:MAX_REPORTED])) for items in (problems, skips, warnings)]
        with self.database.transaction(write=True) as db:
            _require_lease(db, job)
            db.execute(
                "UPDATE jobs SET result = ?, problems = ?, skips = ?, warnings = ? WHERE id = ?",
                (_to_json(result), *reports, job.id),
            )
            self._end(db, job.id, state, error=error, hint=hint)
            return _get_job(db, job.id)

    def release(self, job: Job, reason: str, *, not_before: float = 0.0) -> Job:
        """Put the job back in its place in the queue, without counting the attempt.

        It is not leased before `not_before`, at most an hour from now. A job that was to be cancelled ends instead.
        """
        with self.database.transaction(write=True) as db:
            if _require_lease(db, job).cancel_requested:
                self._end(db, job.id, JobState.CANCELLED)
            else:
                db.execute(
                    f"UPDATE jobs SET state = 'queued', attempts = attempts - 1, stage = ?, not_before = ?, {NO_LEASE}"
                    " WHERE id = ?",
                    (_to_utf8(reason), min(not_before, self.clock() + _MAX_WAIT_SECONDS), job.id),
                )
            return _get_job(db, job.id)

    def heartbeat(self, worker: WorkerIdentity) -> None:
        """Record that the worker is alive; to be called at least every third of `lease_seconds`."""
        with self.database.transaction(write=True) as db:
            row = (worker.name, *dataclasses.astuple(worker.process), now := self.clock())
            db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)", row)
            db.execute("DELETE FROM workers WHERE abs(seen - ?) > 10 * ?", (now, self._lease_seconds))

    def remove_worker(self, worker: WorkerIdentity) -> None:
        """Record that the worker has ended; it has released its job before."""
        with self.database.transaction(write=True) as db:
            db.execute("DELETE FROM workers WHERE name = ?", (worker.name,))

    def live_workers(self) -> Sequence[WorkerIdentity]:
        with self.database.transaction() as db:
            rows = _rows(
                db,
                "SELECT name, machine, process, started FROM workers WHERE abs(seen - ?) <= ? ORDER BY name",
                (self.clock(), self._lease_seconds),
            )
        workers = [WorkerIdentity(name, ProcessIdentity(*process)) for name, *process in rows]
        return [worker for worker in workers if not worker.process.is_gone()]

    def _update(self, job: Job, values: Callable[[apsw.Connection, float], Mapping[str, Any]]) -> Job:
        with self.database.transaction(write=True) as db:
            _require_lease(db, job)
            now = self.clock()
            changes = {"renewed": now, **values(db, now)}
            assignments = ", ".join(f"{column} = ?" for column in changes)
            db.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", (*changes.values(), job.id))
            return _get_job(db, job.id)

    def _requeue_abandoned(self, db: apsw.Connection, now: float) -> None:
        """Queue jobs again, in their old place, if their lease has expired or their process is gone."""
        # If the clock was set back, a lease must not last longer.
        db.execute("UPDATE jobs SET renewed = ?1 WHERE state = 'running' AND renewed > ?1", (now,))
        running = _rows(
            db,
            "SELECT id, attempts, cancel_requested, renewed + lease_seconds, machine, process, process_started"
            " FROM jobs WHERE state = 'running'",
        )
        for job_id, attempts, cancel_requested, expiry, *process in running:
            if expiry > now and not ProcessIdentity(*process).is_gone():
                continue
            if cancel_requested:
                self._end(db, job_id, JobState.CANCELLED)
            elif attempts >= MAX_ATTEMPTS:
                self._end(
                    db,
                    job_id,
                    JobState.FAILED,
                    error=f"its worker died {attempts} times while running the job",
                    hint="see the worker's log; a file may need more memory than available",
                )
            else:
                db.execute(f"UPDATE jobs SET state = 'queued', stage = '', {NO_LEASE} WHERE id = ?", (job_id,))

    def _end(
        self, db: apsw.Connection, job_id: str, state: JobState, *, error: str | None = None, hint: str | None = None
    ) -> None:
        db.execute(
            f"UPDATE jobs SET state = ?, ended = ?, stage = '', error = ?, hint = ?, {NO_LEASE} WHERE id = ?",
            (state, self.clock(), _to_utf8(error), _to_utf8(hint), job_id),
        )
        db.execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended IS NOT NULL"
            " AND id NOT IN (SELECT last_job FROM schedules) ORDER BY ended DESC, seq DESC LIMIT -1 OFFSET ?)",
            (self._keep,),
        )


def insert_job(
    db: apsw.Connection, collection: str, kind: JobKind, request: Mapping[str, Any], job_id: str, now: float
) -> Job:
    """Queue a job within the caller's transaction."""
    db.execute(
        "INSERT INTO jobs (id, collection, kind, request, state, created) VALUES (?, ?, ?, ?, 'queued', ?)",
        (job_id, collection, kind, _to_json(request), now),
    )
    return _get_job(db, job_id)


def within(collection: str | None) -> tuple[str, tuple[str, ...]]:
    """SQL that selects the rows of a collection, or all rows, and its values."""
    return ("WHERE collection = ?", (collection,)) if collection is not None else ("", ())


def find_job(db: apsw.Connection, job_id: str) -> Job | None:
    """The job within the caller's transaction, or None."""
    return next(iter(_select(db, "WHERE id = ?", (job_id,))), None)


def _get_job(db: apsw.Connection, job_id: str) -> Job:
    (job,) = _select(db, "WHERE id = ?", (job_id,))
    return job


def _select(db: apsw.Connection, clauses: str, values: tuple[Any, ...]) -> list[Job]:
    rows = _rows(db, f"SELECT {', '.join(_COLUMNS)} FROM jobs {clauses}", values)
    return [_to_job(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> Any:
    return db.execute(query, values).fetchall()


def _to_job(row: dict[str, Any]) -> Job:
    decoded = {name: json.loads(row[name]) for name in _JSON}
    types = {"kind": JobKind(row["kind"]), "state": JobState(row["state"])}
    return Job(**row | decoded | types | {"cancel_requested": bool(row["cancel_requested"])})


def _require_lease(db: apsw.Connection, job: Job) -> Job:
    current = find_job(db, job.id)
    if current is None or current.state is not JobState.RUNNING or job.lease is None or current.lease != job.lease:
        raise LeaseLost(f"this worker's lease of job {job.id} expired", hint="another worker continues the job")
    return current


def _to_json(value: object) -> str:
    encoded = json.dumps(value, ensure_ascii=False)
    return encoded.encode("utf-8", "replace").decode()


def _to_utf8(text: str | None) -> str | None:
    """Without lone surrogates, which file names may have and neither SQLite nor HTTP accepts."""
    return None if text is None else text.encode("utf-8", "replace").decode()
