"""The queue compared with a simple model, with killed workers, changed clocks, full disks and damaged files."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from search_app.errors import InvalidQuery, QueueUnavailable
from search_app.leases import ProcessIdentity
from search_app.queue.jobs import Job, JobKind, JobState, LeaseLost, WorkerIdentity, new_id
from search_app.queue.queue import MAX_ATTEMPTS, JobQueue
from search_app.queue.schedules import Schedules, next_run
from search_app.queue.staging import remove_stale_staging

COLLECTIONS = ("a", "b", "c")
ELSEWHERE = WorkerIdentity("elsewhere", ProcessIdentity("another machine", 1, "1"))


class Clock:
    """The time, as the queue sees it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[JobQueue]:
    with closing(JobQueue(tmp_path / "jobs", lease_seconds=30, clock=clock)) as queue:
        yield queue


def folder_job(queue: JobQueue, collection: str = "a") -> Job:
    return queue.enqueue(collection, JobKind.FOLDER, {"folder": "handbook"})


def leased(queue: JobQueue, worker: WorkerIdentity = ELSEWHERE) -> Job:
    job = queue.lease(worker)
    assert job is not None
    return job


class QueueMachine(RuleBasedStateMachine):
    """The model: the open jobs of each collection, oldest first, and the valid leases."""

    folder: Path
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.queue = JobQueue(self.folder / new_id(), lease_seconds=30, keep=10_000, clock=self.clock)
        self.clock.now = 1_800_000_000.0
        self.waiting: dict[str, list[str]] = {name: [] for name in COLLECTIONS}
        self.held: dict[str, tuple[Job, float]] = {}  # by collection: the lease and when it was last renewed
        self.lost: list[Job] = []
        self.attempts: dict[str, int] = {}
        self.ended: dict[str, JobState] = {}
        self.cancelled: set[str] = set()

    def teardown(self) -> None:
        self.queue.close()

    @rule(collection=st.sampled_from(COLLECTIONS))
    def add(self, collection: str) -> None:
        job_id = f"{len(self.attempts):04}"
        self.queue.enqueue(collection, JobKind.FOLDER, {"folder": "handbook"}, job_id=job_id)
        self.waiting[collection].append(job_id)
        self.attempts[job_id] = 0

    @rule()
    def lease(self) -> None:
        for name, (job, renewed) in list(self.held.items()):
            if renewed + 30 <= self.clock.now:
                del self.held[name]
                self.lost.append(job)
                if job.id in self.cancelled:
                    self._expect_end(name, job.id, JobState.CANCELLED)
                elif self.attempts[job.id] >= MAX_ATTEMPTS:
                    self._expect_end(name, job.id, JobState.FAILED)
        job = self.queue.lease(ELSEWHERE)
        free = {name: ids[0] for name, ids in self.waiting.items() if ids and name not in self.held}
        if job is None:
            assert not free
            return
        assert job.id == free[job.collection]
        self.attempts[job.id] += 1
        assert job.attempts == self.attempts[job.id]
        self.held[job.collection] = (job, self.clock.now)

    @rule(seconds=st.sampled_from([0.0, 5.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.held)
    @rule(data=st.data(), end=st.sampled_from([JobState.DONE, JobState.FAILED, JobState.CANCELLED]))
    def finish(self, data: st.DataObject, end: JobState) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        job, _ = self.held.pop(name)
        self.queue.finish(job, end)
        self._expect_end(name, job.id, end)
        self.lost.append(job)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        job, _ = self.held[name]
        assert self.queue.renew(job).cancel_requested == (job.id in self.cancelled)
        self.held[name] = (job, self.clock.now)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        job, _ = self.held.pop(name)
        self.queue.release(job, "the index is busy")
        self.lost.append(job)
        if job.id in self.cancelled:
            self._expect_end(name, job.id, JobState.CANCELLED)
        else:
            self.attempts[job.id] -= 1

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.attempts)))
        open_in = next((name for name, ids in self.waiting.items() if job_id in ids), None)
        assert self.queue.cancel(job_id) == (open_in is not None)
        if open_in is None:
            return
        if open_in in self.held and self.held[open_in][0].id == job_id:
            self.cancelled.add(job_id)
        else:
            self._expect_end(open_in, job_id, JobState.CANCELLED)

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), way=st.sampled_from(["renew", "set_plan", "set_progress", "finish", "release"]))
    def use_a_lost_lease(self, data: st.DataObject, way: str) -> None:
        job = data.draw(st.sampled_from(self.lost))
        before = self.queue.get(job.id)
        with pytest.raises(LeaseLost):
            use(self.queue, job, way)
        assert self.queue.get(job.id) == before

    @invariant()
    def is_as_expected(self) -> None:
        found = {job.id: job.state for job in self.queue.list(limit=10_000)}
        running = {job.id for job, _ in self.held.values()}
        for name in COLLECTIONS:
            for job_id in self.waiting[name]:
                assert found.pop(job_id) is (JobState.RUNNING if job_id in running else JobState.QUEUED)
        assert found == self.ended

    def _expect_end(self, collection: str, job_id: str, state: JobState) -> None:
        assert job_id not in self.ended
        self.waiting[collection].remove(job_id)
        self.ended[job_id] = state


def use(queue: JobQueue, job: Job, way: str) -> None:
    if way == "renew":
        queue.renew(job)
    elif way == "set_plan":
        queue.set_plan(job, {"added": 1})
    elif way == "set_progress":
        queue.set_progress(job, stage="encoding", bytes_done=1, bytes_total=2)
    elif way == "finish":
        queue.finish(job, JobState.DONE)
    else:
        queue.release(job, "again")


def test_each_job_ends_once_and_no_collection_is_leased_twice(tmp_path: Path, clock: Clock) -> None:
    QueueMachine.folder, QueueMachine.clock = tmp_path, clock
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


WORKER = """
import sys, time
from pathlib import Path
from search_app.queue.jobs import JobState, WorkerIdentity
from search_app.queue.queue import JobQueue
folder, log = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
queue, worker = JobQueue(folder, lease_seconds=60), WorkerIdentity.of_this_process()
while True:
    queue.heartbeat(worker)
    job = queue.lease(worker)
    if job is None:
        time.sleep(0.01)
        continue
    for done in range(3):
        time.sleep(0.01)
        queue.set_progress(job, stage="encoding", bytes_done=done, bytes_total=3)
    queue.finish(job, JobState.DONE, result={"added": 1})
    log.write(job.id + "\\n")
"""


def test_killed_workers_lose_and_duplicate_no_job(tmp_path: Path, queue: JobQueue) -> None:
    log = tmp_path / "ended"
    chance = random.Random(7)
    command = [sys.executable, "-c", WORKER, str(queue.folder), str(log)]
    ids = {folder_job(queue, collection).id for collection in COLLECTIONS for _ in range(3)}
    workers = [subprocess.Popen(command) for _ in range(2)]
    try:
        kills, deadline = 0, time.monotonic() + 60
        while (states := queue.count_by_state())[JobState.DONE] < len(ids):
            assert time.monotonic() < deadline, states
            time.sleep(chance.uniform(0.0, 0.1))
            if kills == MAX_ATTEMPTS - 1:
                continue  # a job that is hit each time would rightly fail
            if states[JobState.QUEUED] < 3:
                ids.add(folder_job(queue, chance.choice(COLLECTIONS)).id)
            if states[JobState.RUNNING] and chance.random() < 0.3:
                victim = workers.pop(chance.randrange(len(workers)))
                victim.kill()
                kills += 1
                workers.append(subprocess.Popen(command))
                victim.wait()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert kills == MAX_ATTEMPTS - 1
    assert {job.id: job.state for job in queue.list(limit=1000)} == dict.fromkeys(ids, JobState.DONE)
    ended = log.read_text().split()
    assert len(ended) == len(set(ended))
    assert set(ended) <= ids
    assert len(ended) >= len(ids) - kills - 2  # a worker may die between the end of a job and its line


def test_the_job_of_a_dead_process_is_leased_at_once(queue: JobQueue) -> None:
    folder_job(queue)
    process = subprocess.Popen(["sleep", "60"])
    here = WorkerIdentity.of_this_process()
    first = leased(queue, WorkerIdentity("first", replace(here.process, pid=process.pid, started="")))
    assert queue.lease(here) is None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
    second = leased(queue, here)
    assert (second.id, second.attempts) == (first.id, 2)
    process.wait()
    with pytest.raises(LeaseLost):
        queue.finish(first, JobState.DONE)


def test_a_reused_pid_does_not_keep_a_lease(queue: JobQueue) -> None:
    folder_job(queue)
    here = WorkerIdentity.of_this_process()
    leased(queue, WorkerIdentity("before", replace(here.process, started="1")))
    assert leased(queue, here).attempts == 2


def test_the_lease_of_another_machine_lasts_until_it_expires(queue: JobQueue, clock: Clock) -> None:
    folder_job(queue)
    leased(queue, ELSEWHERE)
    clock.now += 29
    assert queue.lease(WorkerIdentity.of_this_process()) is None
    clock.now += 2
    assert leased(queue, WorkerIdentity.of_this_process()).attempts == 2


def test_setting_the_clock_back_does_not_prolong_a_lease(queue: JobQueue, clock: Clock) -> None:
    folder_job(queue)
    leased(queue)
    clock.now -= 10 * 365 * 86400
    assert queue.lease(WorkerIdentity.of_this_process()) is None
    clock.now += 31
    assert leased(queue, WorkerIdentity.of_this_process()).attempts == 2


def test_a_job_fails_after_killing_five_workers(queue: JobQueue, clock: Clock) -> None:
    job = folder_job(queue)
    for attempt in range(MAX_ATTEMPTS):
        assert leased(queue).attempts == attempt + 1
        clock.now += 31
    assert queue.lease(ELSEWHERE) is None
    ended = queue.get(job.id)
    assert ended is not None
    assert (ended.state, ended.error) == (JobState.FAILED, "its worker died 5 times while running the job")
    assert ended.hint


def test_a_released_job_keeps_its_place_and_shows_the_reason(queue: JobQueue, clock: Clock) -> None:
    first, second, other = folder_job(queue, "a"), folder_job(queue, "a"), folder_job(queue, "b")
    given_back = queue.release(leased(queue), "another job is writing", not_before=clock.now + 10)
    assert (given_back.state, given_back.stage, given_back.attempts) == (JobState.QUEUED, "another job is writing", 0)
    assert leased(queue).id == other.id
    assert queue.lease(ELSEWHERE) is None  # the second waits behind the first
    clock.now += 10
    queue.finish(leased(queue), JobState.DONE)
    assert leased(queue).id == second.id
    assert [job.id for job in queue.list("a")] == [second.id, first.id]


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_by_its_worker(queue: JobQueue, clock: Clock) -> None:
    running, waiting = folder_job(queue), folder_job(queue)
    held = leased(queue)
    assert queue.cancel(waiting.id)
    assert not queue.cancel(waiting.id)
    assert queue.cancel(running.id)
    assert queue.renew(held).cancel_requested
    assert queue.finish(held, JobState.CANCELLED).state is JobState.CANCELLED
    assert queue.count_by_state()[JobState.CANCELLED] == 2
    folder_job(queue)
    killed = leased(queue)
    queue.cancel(killed.id)
    clock.now += 31
    assert queue.lease(ELSEWHERE) is None
    assert queue.count_by_state()[JobState.CANCELLED] == 3


def test_the_remaining_time_is_estimated_from_this_attempt(queue: JobQueue, clock: Clock) -> None:
    folder_job(queue)
    job = queue.set_plan(leased(queue), {"added": 2}, bytes_total=1000)
    assert (job.plan, job.bytes_total, job.eta_seconds) == ({"added": 2}, 1000, None)
    assert queue.set_progress(job, stage="encoding", bytes_done=100, bytes_total=1000).eta_seconds is None
    clock.now += 10
    assert queue.set_progress(job, stage="encoding", bytes_done=300, bytes_total=1000).eta_seconds == pytest.approx(35)
    clock.now += 31
    again = leased(queue)
    assert (again.bytes_done, again.eta_seconds, again.plan, again.stage) == (0, None, None, "")
    assert queue.set_progress(again, stage="encoding", bytes_done=600, bytes_total=1000).eta_seconds is None


def test_the_newest_ended_jobs_and_the_last_job_of_a_schedule_are_kept(tmp_path: Path, clock: Clock) -> None:
    queue = JobQueue(tmp_path, keep=3, clock=clock)
    scheduled = Schedules(queue).set("z", "handbook", "0 2 * * *").last_job
    queue.cancel(scheduled)
    ids = []
    for _ in range(5):
        clock.now += 1
        ids.append(folder_job(queue).id)
        queue.finish(leased(queue), JobState.DONE)
    waiting = folder_job(queue).id
    assert [job.id for job in queue.list()] == [waiting, *reversed(ids[2:]), scheduled]
    queue.close()


def test_names_with_lone_surrogates_are_stored(queue: JobQueue) -> None:
    folder_job(queue)
    ended = queue.finish(
        leased(queue), JobState.FAILED, problems=[{"source": "gr\udcfcn.txt", "reason": "r"}], error="gr\udcfcn.txt"
    )
    assert (ended.problems[0]["source"], ended.error) == ("gr?n.txt", "gr?n.txt")


@pytest.mark.parametrize(
    "cron", ["", "x", "* * * *", "* * * * * *", "@daily", "61 * * * *", "0 0 30 2 *", "0 0 * 2 5#9", "*/0 * * * *"]
)
def test_an_invalid_cron_expression_is_refused_with_an_example(queue: JobQueue, cron: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        Schedules(queue).set("a", "handbook", cron)
    assert caught.value.field == "every"
    assert "30 2 * * *" in caught.value.hint
    assert Schedules(queue).list() == []
    assert queue.count() == 0


def test_a_schedule_queues_a_job_now_and_one_for_all_missed_runs(queue: JobQueue, clock: Clock) -> None:
    schedule = Schedules(queue).set("a", "handbook", "0  *  * * *")
    assert schedule.cron == "0 * * * *"
    assert clock.now < schedule.next <= clock.now + 3600
    assert Schedules(queue).enqueue_due() == []
    clock.now = schedule.next + 5 * 3600
    assert Schedules(queue).enqueue_due() == []  # the first job has not ended
    queue.finish(leased(queue), JobState.DONE)
    clock.now += 7 * 3600
    (job,) = Schedules(queue).enqueue_due()
    assert Schedules(queue).enqueue_due() == []
    assert (job.kind, job.request, job.collection) == (JobKind.FOLDER, {"folder": "handbook"}, "a")
    (after,) = Schedules(queue).list("a")
    assert after.last_job == job.id
    assert clock.now < after.next <= clock.now + 3600
    changed = Schedules(queue).set("a", "handbook", "30 2 * * *")
    assert (changed.id, changed.last_job) == (schedule.id, job.id)  # it has not ended: no second one
    assert Schedules(queue).list("b") == []
    assert Schedules(queue).remove(schedule.id)
    assert not Schedules(queue).remove(schedule.id)
    assert queue.count() == 2


def test_schedules_follow_local_time_through_daylight_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        march, october = (datetime(2026, month, day, 12).timestamp() for month, day in ((3, 28), (10, 24)))
        assert datetime.fromtimestamp(next_run("0 12 * * *", march)) == datetime(2026, 3, 29, 12)
        assert next_run("0 12 * * *", march) - march == 23 * 3600
        assert next_run("0 12 * * *", october) - october == 25 * 3600
        assert datetime.fromtimestamp(next_run("30 2 * * *", march)) == datetime(2026, 3, 29, 3, 30)  # there is no 2:30
        moment, runs = october, []
        while moment < october + 86400:
            moment, before = next_run("*/30 * * * *", moment), moment
            assert moment > before
            runs.append(moment)
        assert len(set(runs)) == len(runs)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_workers_are_live_until_their_heartbeat_stops(queue: JobQueue, clock: Clock) -> None:
    here = WorkerIdentity.of_this_process()
    dead = WorkerIdentity("dead", replace(here.process, started="1"))
    for worker in (here, dead, ELSEWHERE):
        queue.heartbeat(worker)
    assert {worker.name for worker in queue.live_workers()} == {here.name, "elsewhere"}
    queue.remove_worker(here)
    assert [worker.name for worker in queue.live_workers()] == ["elsewhere"]
    clock.now += 31
    assert queue.live_workers() == []


def test_stale_uploads_are_removed_and_needed_ones_kept(queue: JobQueue) -> None:
    waiting, ended = (queue.enqueue("a", JobKind.UPLOAD, {"files": []}, job_id=new_id()) for _ in range(2))
    queue.cancel(ended.id)
    old, new = new_id(), new_id()
    for name in (waiting.id, ended.id, old, new):
        (queue.staging / name).mkdir(parents=True)
        (queue.staging / name / "0").write_text("text")
    for path in (queue.staging / old / "0", queue.staging / old, queue.staging / waiting.id / "0"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert remove_stale_staging(queue) == 2
    assert {path.name for path in queue.staging.iterdir()} == {waiting.id, new}


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QueueUnavailable, match=r"jobs\.db cannot be used") as caught:
        JobQueue(tmp_path / "file" / "jobs").enqueue("a", JobKind.FOLDER, {"folder": "x"})
    assert "SEARCH_APP_JOBS__FOLDER" in caught.value.hint
    assert caught.value.http_status == 503


def test_a_full_disk_changes_nothing(queue: JobQueue) -> None:
    folder_job(queue)
    with queue.database.transaction() as full:
        full.execute(f"PRAGMA max_page_count = {full.pragma('page_count')}")
    with pytest.raises(QueueUnavailable, match="no space left") as caught:
        queue.enqueue("a", JobKind.DELETE, {"sources": ["x" * 1_000_000]})
    assert caught.value.http_status == 507
    before = queue.count()
    assert folder_job(queue)
    assert queue.count() == before + 1


def test_a_damaged_file_is_reported_and_can_be_moved_away(queue: JobQueue) -> None:
    folder_job(queue)
    queue.close()
    queue.path.write_bytes(b"no database" * 1000)
    with pytest.raises(QueueUnavailable, match="is damaged"):
        queue.count()
    queue.path.rename(queue.path.with_name("damaged"))
    assert queue.count() == 0


def test_a_queue_of_a_newer_version_is_refused(queue: JobQueue) -> None:
    folder_job(queue)
    queue.close()
    with sqlite3.connect(queue.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(QueueUnavailable, match="newer version"):
        queue.count()


def test_a_queue_starts_empty_after_its_files_were_removed(queue: JobQueue) -> None:
    folder_job(queue)
    for file in queue.folder.iterdir():
        file.unlink()
    job = folder_job(queue)
    other = JobQueue(queue.folder)
    assert [found.id for found in other.list()] == [job.id]
    other.close()
