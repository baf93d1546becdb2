"""Each job runs to its end exactly once, even if API, worker or both are killed; a full disk stops no worker."""

from __future__ import annotations

import errno
import secrets
import threading
from collections.abc import Mapping
from contextlib import closing

import disk_faults
import pytest
import queue_kills
from living_index import PARAGRAPHS, Report, encoder_of, fast_folder, forked

from indexing.worker.worker import Worker
from search_app.queue.jobs import Job, JobKind, JobState, new_id
from search_app.queue.queue import JobQueue
from search_app.settings import Settings

_NEVER = 1 << 60


def test_three_kills_of_api_and_worker_lose_and_duplicate_no_job() -> None:
    seed = secrets.randbits(31)
    (played,) = queue_kills.rounds(seed, range(1))
    assert not played.problems, f"seed {seed}: {played.problems}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_kills_of_api_and_worker_lose_and_duplicate_no_job() -> None:
    seed, struck = secrets.randbits(31), 0
    for number, played in enumerate(queue_kills.rounds(seed, range(100))):
        assert not played.problems, f"seed {seed}, round {number}: {played.problems}"
        struck += played.kills
        if struck >= 30:
            return
    raise AssertionError(f"only {struck} kills struck")


FILES = {f"{number}.txt": "\n\n".join(PARAGRAPHS[number : number + 4]) for number in range(4)}


def upload(settings: Settings, files: Mapping[str, str]) -> None:
    identity = new_id()
    folder = settings.jobs_folder / "staging" / identity
    folder.mkdir(parents=True)
    for number, text in enumerate(files.values()):
        (folder / str(number)).write_text(text, encoding="utf-8")
    request = [{"name": name, "stored": str(number), "size": 1} for number, name in enumerate(files)]
    with closing(JobQueue.from_settings(settings)) as queue:
        queue.enqueue("first", JobKind.UPLOAD, {"files": request}, job_id=identity)


def work(settings: Settings) -> None:
    with closing(JobQueue.from_settings(settings)) as queue:
        Worker(settings, queue, load_encoder=lambda _: encoder_of()).run(once=True)


def ended(settings: Settings) -> list[Job]:
    """Newest first."""
    with closing(JobQueue.from_settings(settings)) as queue:
        return list(queue.list())


class FullForAWhile(disk_faults.Counter):
    """From the n-th call on, the disk is full for a second."""

    def _fail(self) -> bool:
        if self._number < _NEVER and not hasattr(self, "_timer"):
            self._timer = threading.Timer(1.0, self._make_room)
            self._timer.start()
        return super()._fail()

    def _make_room(self) -> None:
        self._number = _NEVER


def test_a_temporarily_full_disk_fails_jobs_and_stops_no_worker() -> None:
    with fast_folder() as folder:

        def home(name: str) -> Settings:
            settings = queue_kills.settings_of(folder / name, folder)
            upload(settings, FILES)
            return settings

        def counted(report: Report) -> None:
            counter = disk_faults.Counter("pwrite64", _NEVER, 0)
            work(twin)
            report(str(counter.seen))

        twin = home("twin")
        outcome = forked(counted)
        assert outcome.code == 0, outcome.error
        writes = int(outcome.lines[-1])
        struck = 0
        for number in (writes // 3, writes * 2 // 3):
            settings = home(f"full-{number}")

            def full(report: Report, settings: Settings = settings, number: int = number) -> None:
                fault = FullForAWhile("pwrite64", number, errno.ENOSPC, lasting=True)
                work(settings)
                assert fault.seen >= number

            outcome = forked(full)
            assert outcome.code == 0, outcome.error
            where = f"full at write {number} of {writes}"
            for job in ended(settings):
                assert job.state in (JobState.DONE, JobState.FAILED), where
                if job.state is JobState.FAILED:
                    struck += 1
                    assert str(settings.home) in (job.error or ""), f"{where}: {job.error}"
                    assert "space" in f"{job.error} {job.hint}", f"{where}: {job.error}"
            upload(settings, FILES)
            again = forked(lambda report, settings=settings: work(settings))
            assert again.code == 0, again.error
            assert ended(settings)[0].state is JobState.DONE, where
            assert queue_kills.state(settings, ["first"]) == queue_kills.state(twin, ["first"]), where
        assert struck, "no job was hit"
