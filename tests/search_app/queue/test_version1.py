"""A queue written by an earlier version opens and works unchanged. `data/version1.db` was written by commit 372fe0f."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from search_app.leases import ProcessIdentity
from search_app.queue.jobs import Job, JobKind, JobState, Schedule, WorkerIdentity
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules

WRITTEN = 1_790_000_004.0
ELSEWHERE = WorkerIdentity("elsewhere-7-abcdef", ProcessIdentity("another machine", 7, "123"))


class Clock:
    now = WRITTEN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[JobQueue]:
    shutil.copyfile(Path(__file__).parent / "data" / "version1.db", tmp_path / "jobs.db")
    with closing(JobQueue(tmp_path, clock=clock)) as queue:
        yield queue


def get(queue: JobQueue, job_id: str) -> Job:
    job = queue.get(job_id)
    assert job is not None
    return job


def test_its_jobs_workers_and_schedules_are_read(queue: JobQueue) -> None:
    assert [job.id for job in queue.list()] == ["scheduled", "queued", "running", "failed", "done"]
    assert [job.id for job in queue.list("books")] == ["scheduled"]
    done, failed, running = (get(queue, name) for name in ("done", "failed", "running"))
    assert (done.kind, done.state, done.title, done.attempts) == (JobKind.UPLOAD, JobState.DONE, "2 files", 1)
    assert done.request["files"][0] == {"name": "guide.pdf", "stored": "0", "size": 10}
    assert (done.created, done.ended, done.bytes_done, done.bytes_total) == (WRITTEN - 4, WRITTEN, 5, 15)
    assert done.plan == {"added": 2, "changed": 0, "unchanged": 0, "removed": 0, "skipped": 0, "failed": 0}
    assert done.result == {"added": 1, "failed": 1, "passages": 7, "seconds": 4.0}
    assert (done.problems, done.skips, done.warnings) == (
        [{"source": "notes.md", "reason": "it is empty"}],
        [{"source": "a.exe", "reason": "unknown type .exe"}],
        ["guide.pdf: no text on page 3"],
    )
    assert (failed.error, failed.hint) == ("folder 'gone' is not there: /gone", "mount it, then queue the job again")
    assert (running.state, running.stage, running.title) == (JobState.RUNNING, "removing", "delete 1 source")
    assert queue.live_workers() == [ELSEWHERE]
    assert Schedules(queue).list() == [
        Schedule("schedule", "books", "handbook", "30 2 * * *", 1_790_000_500.0, "scheduled")
    ]


def test_its_lease_holds_until_it_expires(queue: JobQueue, clock: Clock) -> None:
    running = get(queue, "running")
    here = WorkerIdentity.of_this_process()
    scheduled = queue.lease(here)
    assert scheduled is not None
    assert scheduled.id == "scheduled"
    queue.finish(scheduled, JobState.DONE)
    clock.now += 20
    queue.renew(running)
    clock.now += 29
    assert queue.lease(here) is None
    clock.now += 2
    again = queue.lease(here)
    assert again is not None
    assert (again.id, again.attempts) == ("running", 2)
    queue.finish(again, JobState.DONE)
    following = queue.lease(here)
    assert following is not None
    assert following.id == "queued"
    clock.now = 1_790_000_500.0
    (due,) = Schedules(queue).enqueue_due()
    assert (due.collection, due.request) == ("books", {"folder": "handbook"})


def test_the_tables_stay_the_same(queue: JobQueue, tmp_path: Path) -> None:
    new = JobQueue(tmp_path / "new")
    for each in (queue, new):
        each.enqueue("docs", JobKind.FOLDER, {"folder": "handbook"})
        each.close()

    def tables(path: Path) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(path)) as db:
            tables = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
            return [*tables, *db.execute("PRAGMA user_version")]

    assert tables(new.path) == tables(queue.path)
