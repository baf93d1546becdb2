"""Schedules: folders that are indexed at the times of a cron expression."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

import apsw
from cronsim import CronSim, CronSimError

from search_app.errors import InvalidQuery
from search_app.queue.jobs import Job, JobKind, Schedule, new_id
from search_app.queue.queue import JobQueue, find_job, insert_job, within

_MAX_LENGTH = 200
_HINT = "use cron's five fields: minute hour day month weekday; '30 2 * * *' is 2:30 every night"


class Schedules:
    """The schedules of a queue, stored in its file."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def set(self, collection: str, folder: str, cron: str) -> Schedule:
        """Queue the folder's job now and at the times of `cron`. Replaces the folder's schedule.

        Raises InvalidQuery if `cron` is not valid.
        """
        cron = " ".join(cron.split())
        with self._queue.database.transaction(write=True) as db:
            now = self._queue.clock()
            following = next_run(cron, now)
            schedule_id, last_job = db.execute(
                "SELECT id, last_job FROM schedules WHERE collection = ? AND folder = ?", (collection, folder)
            ).get or (new_id(), "")
            if not _is_open(db, last_job):
                last_job = _enqueue(db, collection, folder, now).id
            schedule = Schedule(schedule_id, collection, folder, cron, following, last_job)
            db.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(schedule))
            return schedule

    def list(self, collection: str | None = None) -> Sequence[Schedule]:
        """By collection, then folder."""
        where, values = within(collection)
        with self._queue.database.transaction() as db:
            return _select(db, f"{where} ORDER BY collection, folder", *values)

    def remove(self, schedule_id: str) -> bool:
        """False if there is no such schedule. Its jobs stay."""
        with self._queue.database.transaction(write=True) as db:
            db.execute("DELETE FROM schedules WHERE id = ?", (schedule_id,))
            return db.changes() > 0

    def remove_all(self, collection: str) -> None:
        with self._queue.database.transaction(write=True) as db:
            db.execute("DELETE FROM schedules WHERE collection = ?", (collection,))

    def rename_collection(self, old: str, new: str) -> None:
        with self._queue.database.transaction(write=True) as db:
            db.execute("UPDATE OR REPLACE schedules SET collection = ? WHERE collection = ?", (new, old))

    def enqueue_due(self) -> Sequence[Job]:
        """Queue the jobs that are due, missed runs once. A schedule is skipped while its last job has not ended."""
        now = self._queue.clock()
        if not any(schedule.next <= now for schedule in self.list()):
            return []
        jobs = []
        with self._queue.database.transaction(write=True) as db:
            for schedule in _select(db, "WHERE next <= ?", now):
                last_job = schedule.last_job
                if not _is_open(db, last_job):
                    jobs.append(_enqueue(db, schedule.collection, schedule.folder, now))
                    last_job = jobs[-1].id
                db.execute(
                    "UPDATE schedules SET next = ?, last_job = ? WHERE id = ?",
                    (next_run(schedule.cron, now), last_job, schedule.id),
                )
        return jobs


def next_run(cron: str, after: float) -> float:
    """The first time of `cron` later than `after`, in this machine's time zone.

    Raises InvalidQuery if `cron` is not valid.
    """
    if len(cron.split()) != 5 or len(cron) > _MAX_LENGTH:
        raise InvalidQuery(f"not a cron expression: {cron[:_MAX_LENGTH]!r}", hint=_HINT, field="every")
    try:
        # Local times without a zone: when the clock repeats an hour, only the first one counts.
        for moment in CronSim(cron, datetime.fromtimestamp(after)):
            if moment.timestamp() > after:
                return moment.timestamp()
    except CronSimError as error:
        raise InvalidQuery(f"not a cron expression: {cron!r} ({error})", hint=_HINT, field="every") from error
    raise InvalidQuery(f"cron expression {cron!r} never matches", hint=_HINT, field="every")


def _select(db: apsw.Connection, clauses: str, *values: str | float) -> list[Schedule]:
    rows = db.execute(f"SELECT id, collection, folder, every, next, last_job FROM schedules {clauses}", values)
    return [Schedule(*row) for row in rows]


def _enqueue(db: apsw.Connection, collection: str, folder: str, now: float) -> Job:
    return insert_job(db, collection, JobKind.FOLDER, {"folder": folder}, new_id(), now)


def _is_open(db: apsw.Connection, job_id: str) -> bool:
    job = find_job(db, job_id)
    return job is not None and not job.state.ended
