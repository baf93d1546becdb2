"""A worker with a real queue and a real index: each kind of job, and failures that must not stop the next job."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import samples
from fakes import HashEncoder

from indexing import job
from indexing.worker.library import Library
from indexing.worker.worker import Worker
from search_app.queue.jobs import Job, JobKind, JobState, new_id
from search_app.queue.queue import JobQueue
from search_app.settings import JobSettings, Settings
from search_app.stores.catalog import open_catalog


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    for name in ("leave", "travel"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nThe rules of {name}.\n")
    return folder


@pytest.fixture
def settings(tmp_path: Path, handbook: Path) -> Settings:
    folders = {"handbook": str(handbook), "gone": str(tmp_path / "gone")}
    return Settings(home=tmp_path / "home", jobs=JobSettings(folders=folders, lease_seconds=3))


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    with closing(JobQueue.from_settings(settings)) as queue:
        yield queue


def worker(settings: Settings, queue: JobQueue, encoder: HashEncoder | None = None, **given: Any) -> Worker:
    return Worker(settings, queue, load_encoder=lambda _: encoder or HashEncoder(), **given)


def run(settings: Settings, queue: JobQueue, encoder: HashEncoder | None = None) -> list[str]:
    lines: list[str] = []
    worker(settings, queue, encoder, echo=lines.append).run(once=True)
    return lines


def upload(queue: JobQueue, files: Mapping[str, bytes | Path], collection: str = "default") -> str:
    """Enqueue an upload like the API; returns the job's id."""
    identity = new_id()
    folder = queue.staging / identity
    folder.mkdir(parents=True)
    request = []
    for number, (name, content) in enumerate(files.items()):
        stored = folder / str(number)
        stored.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        request.append({"name": name, "stored": str(number), "size": stored.stat().st_size})
    return queue.enqueue(collection, JobKind.UPLOAD, {"files": request}, job_id=identity).id


def folder_job(queue: JobQueue, name: str = "handbook") -> str:
    return queue.enqueue("default", JobKind.FOLDER, {"folder": name}).id


def delete_job(queue: JobQueue, **request: Any) -> str:
    return queue.enqueue("default", JobKind.DELETE, {"documents": [], "sources": [], "where": None, **request}).id


def job_of(queue: JobQueue, identity: str) -> Job:
    found = queue.get(identity)
    assert found is not None
    return found


def counts(queue: JobQueue, identity: str) -> dict[str, float]:
    """The job's counts other than 0."""
    result = job_of(queue, identity).result or {}
    return {name: value for name, value in result.items() if value and name not in ("seconds", "formats")}


def texts(settings: Settings, collection: str = "default") -> dict[str, str]:
    """The text of each document, by source."""
    with closing(open_catalog(settings)) as catalog, closing(catalog.open(collection)) as index:
        assert catalog.verify(collection) == []
        documents = (index.document(item.id) for item in index.documents(limit=1000))
        return {item.source: item.text for item in documents if item is not None}


def state(settings: Settings) -> tuple[int, dict[str, str]]:
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as index:
        return index.generation, texts(settings)


def originals(settings: Settings) -> set[str]:
    folder = Library(settings, "default").folder
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_upload_is_indexed_by_file_name_and_broken_files_are_reported(
    settings: Settings, queue: JobQueue, tmp_path: Path
) -> None:
    guide = samples.pdf(tmp_path / "guide.pdf", [["The pump needs oil."]])
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    files = {"guide.pdf": guide, "in/notes.md": b"# Notes\n\nOil the valve.", "photo.pdf": png, "memo.docx": b"plain"}

    lines = run(settings, queue) if (identity := upload(queue, files)) else []

    done = job_of(queue, identity)
    assert done.state is JobState.DONE, done.error
    assert done.plan == {"added": 4, "changed": 0, "unchanged": 0, "removed": 0, "skipped": 0, "failed": 0}
    assert counts(queue, identity) == {"added": 2, "failed": 2, "passages": 2, "passages_encoded": 2}
    assert done.result is not None
    by_format = [(item["format"], item["read"], item["failed"]) for item in done.result["formats"]]
    assert by_format == [("pdf", 1, 1), ("docx", 0, 1), ("markdown", 1, 0)]
    assert {problem["source"] for problem in done.problems} == {"photo.pdf", "memo.docx"}
    assert all(problem["reason"] for problem in done.problems)
    assert set(texts(settings)) == originals(settings) == {"guide.pdf", "in/notes.md"}
    assert "The pump needs oil." in texts(settings)["guide.pdf"]
    assert not list(queue.staging.iterdir())
    assert lines[0] == f"{identity} started: 4 files, collection 'default'"
    assert lines[1].startswith(f"{identity} done: 2 added, 2 failed, in ")


def test_a_new_version_replaces_the_old_one_unless_it_is_broken(settings: Settings, queue: JobQueue) -> None:
    upload(queue, {"a.json": b'{"text": "first"}'})
    run(settings, queue)
    changed = upload(queue, {"a.json": b'{"text": "second"}', "b.md": b"# B\n\nother"})
    run(settings, queue)
    assert counts(queue, changed) == {"added": 1, "changed": 1, "passages": 2, "passages_encoded": 2}
    before = state(settings)

    broken = upload(queue, {"a.json": b"{broken"})
    run(settings, queue)

    failed = job_of(queue, broken)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error.startswith("no file of this upload could be indexed: a.json: ")
    assert state(settings) == before
    assert (Library(settings, "default").folder / "a.json").read_bytes() == b'{"text": "second"}'


def test_malicious_zips_fail_and_change_nothing(settings: Settings, queue: JobQueue, tmp_path: Path) -> None:
    folder_job(queue)
    run(settings, queue)
    before = state(settings)
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members: dict[str, Sequence[tuple[str | zipfile.ZipInfo, bytes]]] = {
        "bomb.zip": [("good.txt", b"good"), ("zeros.txt", bytes(10 << 20))],
        "slip.zip": [("good.txt", b"good"), ("../../slip.txt", b"bad")],
        "link.zip": [("good.txt", b"good"), (link, b"/etc/passwd")],
    }
    uploads = []
    for name, content in members.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as bundle:
            for member, data in content:
                bundle.writestr(member, data)
        uploads.append(upload(queue, {name: tmp_path / name}))
    locked = bytearray((tmp_path / "slip.zip").read_bytes().replace(b"../../", b"cellar"))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    uploads.append(upload(queue, {"locked.zip": bytes(locked)}))
    good = upload(queue, {"good.md": b"# Good\n\nA fine text."})

    run(settings, queue)

    ended = [job_of(queue, identity) for identity in uploads]
    assert [item.state for item in ended] == [JobState.FAILED] * 4
    for item, said in zip(
        ended, ["zeros.txt: it unpacks", "slip.txt: the name", "is a link", "encrypted"], strict=True
    ):
        assert said in (item.error or ""), item.error
        assert item.problems[0]["source"] == item.title
    assert job_of(queue, good).state is JobState.DONE
    assert originals(settings) == {"good.md"}
    now = state(settings)[1]
    assert now.pop("good.md")
    assert now == before[1]


def test_a_missing_or_empty_folder_removes_no_documents(
    settings: Settings, queue: JobQueue, handbook: Path, tmp_path: Path
) -> None:
    folder_job(queue)
    run(settings, queue)
    before = state(settings)
    away = handbook.rename(tmp_path / "away")
    gone = [folder_job(queue), folder_job(queue, "gone"), folder_job(queue, "nowhere")]
    run(settings, queue)
    handbook.mkdir()
    empty = folder_job(queue)
    run(settings, queue)

    ended = [job_of(queue, identity) for identity in (*gone, empty)]
    assert [item.state for item in ended] == [JobState.FAILED] * 4
    words = [
        "'handbook' does not exist",
        "'gone' does not exist",
        "no folder is named 'nowhere'",
        "has none of the files",
    ]
    for item, said in zip(ended, words, strict=True):
        assert said in (item.error or ""), item.error
        assert item.hint
    assert state(settings) == before

    handbook.rmdir()
    away.rename(handbook)
    (handbook / "leave.md").unlink()
    (handbook / "travel.md").write_text("# travel\n\nOther rules.\n")
    (handbook / "new.md").write_text("# new\n\nNew rules.\n")
    good = folder_job(queue)
    run(settings, queue)
    assert counts(queue, good) == {"added": 1, "changed": 1, "removed": 1, "passages": 2, "passages_encoded": 2}


def test_a_delete_removes_the_original_which_can_be_uploaded_again(settings: Settings, queue: JobQueue) -> None:
    files = {"parts.csv": b"name,price\nvalve,12\npump,30\n", "a.md": b"# A\n\nfirst", "b.md": b"# B\n\nsecond"}
    upload(queue, files)
    folder_job(queue)
    run(settings, queue)
    row = next(
        item.id
        for item in _documents(settings)
        if item.source == "parts.csv" and item.meta.get("row") == 2
    )  # fmt: skip
    jobs = [
        delete_job(queue, documents=[row, "no-such-id"]),
        delete_job(queue, sources=["a.md", "*leave.md"]),
        delete_job(queue, where={"field": "meta.format", "operator": "==", "value": "nothing"}),
    ]
    run(settings, queue)

    assert [job_of(queue, identity).state for identity in jobs] == [JobState.DONE] * 3
    assert [counts(queue, identity) for identity in jobs] == [{"deleted": 1}, {"deleted": 2}, {}]
    assert job_of(queue, jobs[0]).problems == [{"source": "no-such-id", "reason": "no such document"}]
    assert originals(settings) == {"parts.csv", "b.md"}
    assert (Path(settings.jobs.folders["handbook"]) / "leave.md").exists(), "a file that was not uploaded is not ours"

    again = upload(queue, {"a.md": files["a.md"]})
    run(settings, queue)
    assert counts(queue, again)["added"] == 1
    assert texts(settings)["a.md"].endswith("first")


def _documents(settings: Settings) -> list[Any]:
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("default")) as index:
        return index.documents(limit=1000)


class Acting(HashEncoder):
    """Calls `act` while it encodes the first batch."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act: Callable[[], None] | None = act

    def _vectors(self, texts: Sequence[str]) -> Any:
        act, self._act = self._act, None
        if act is not None:
            act()
        return super()._vectors(texts)


def test_a_cancelled_job_ends_and_the_next_one_runs(settings: Settings, queue: JobQueue) -> None:
    identity = upload(queue, {"a.md": b"# A\n\nfirst"})
    after = upload(queue, {"b.md": b"# B\n\nsecond"})

    run(settings, queue, Acting(lambda: queue.cancel(identity) and None))

    assert job_of(queue, identity).state is JobState.CANCELLED
    assert job_of(queue, after).state is JobState.DONE
    assert set(texts(settings)) == originals(settings), "the library holds what the index does, and no more"


def test_a_stopped_worker_releases_its_job_for_the_next_one(settings: Settings, queue: JobQueue) -> None:
    identity = upload(queue, {"a.md": b"# A\n\nfirst"})
    stopped = worker(settings, queue, Acting(lambda: stopped.stop()))
    stopped.run(once=True)

    waiting = job_of(queue, identity)
    assert (waiting.state, waiting.attempts, waiting.stage) == (JobState.QUEUED, 0, "its worker stopped")
    assert not queue.live_workers()
    run(settings, queue)
    assert job_of(queue, identity).state is JobState.DONE
    assert set(texts(settings)) == originals(settings) == {"a.md"}


def test_an_unexpected_error_fails_the_job_and_not_the_worker(settings: Settings, queue: JobQueue) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of a bug")

    first, second = upload(queue, {"a.md": b"# A\n\nfirst"}), upload(queue, {"b.md": b"# B\n\nsecond"})

    run(settings, queue, Acting(broken))

    assert job_of(queue, first).state is JobState.FAILED
    assert "ZeroDivisionError: of a bug" in (job_of(queue, first).error or "")
    assert job_of(queue, second).state is JobState.DONE
    assert set(texts(settings)) == originals(settings) == {"b.md"}


def test_a_worker_leaves_a_job_whose_lease_it_lost(settings: Settings, queue: JobQueue) -> None:
    identity = upload(queue, {"a.md": b"# A\n\nfirst"})
    lines: list[str] = []

    def lose() -> None:
        with closing(apsw.Connection(str(queue.path))) as db:
            db.execute("UPDATE jobs SET lease = 'of another'")

    losing = worker(settings, queue, Acting(lose), echo=lines.append)
    with running(losing):
        wait(lambda: len(lines) > 1)

    assert lines[1] == f"{identity} was taken over by another worker"
    assert job_of(queue, identity).state is JobState.RUNNING
    assert (queue.staging / identity).exists()


def test_a_job_waits_while_another_program_writes_to_its_collection(settings: Settings, queue: JobQueue) -> None:
    manifest = job.manifest_of(settings, HashEncoder())
    identity = upload(queue, {"a.md": b"# A\n\nfirst"})
    with closing(open_catalog(settings)) as catalog, running(worker(settings, queue)):
        with catalog.writer("default", manifest):
            wait(lambda: "is writing" in job_of(queue, identity).stage)
            waiting = job_of(queue, identity)
            assert not originals(settings), "the file waits with its job"
        wait(lambda: job_of(queue, identity).state.ended)

    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
    assert job_of(queue, identity).state is JobState.DONE
    assert set(texts(settings)) == originals(settings) == {"a.md"}


def test_two_workers_run_each_job_once(settings: Settings, queue: JobQueue) -> None:
    names = [(collection, number) for number in range(3) for collection in ("one", "two")]
    jobs = [
        upload(queue, {"same.md": f"# {number}\n\nof {name}".encode(), f"{number}.md": b"# x\n\ny"}, name)
        for name, number in names
    ]
    with running(worker(settings, queue)), running(worker(settings, queue)):
        wait(lambda: len(queue.live_workers()) == 2)
        wait(lambda: all(job_of(queue, identity).state.ended for identity in jobs))

    ended = [job_of(queue, identity) for identity in jobs]
    assert [(item.state, item.attempts) for item in ended] == [(JobState.DONE, 1)] * 6, [item.error for item in ended]
    for collection in ("one", "two"):
        found = texts(settings, collection)
        assert set(found) == {"0.md", "1.md", "2.md", "same.md"}
        assert f"of {collection}" in found["same.md"]
        assert "2" in found["same.md"], "in order of arrival"


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_runs_queued_jobs_and_stops_on_a_signal(settings: Settings, queue: JobQueue) -> None:
    identity = folder_job(queue, "gone")
    command = [sys.executable, "-m", "indexing.cli", "worker", "--home", str(settings.home)]
    given = {**os.environ, "SEARCH_APP_JOBS__FOLDERS": '{"gone": "/no/such/folder"}', "PYTHONUNBUFFERED": "1"}

    done = subprocess.run([*command, "--once"], env=given, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert f"{identity} started: folder gone, collection 'default'" in done.stdout
    assert f"{identity} failed; folder 'gone' does not exist: /no/such/folder" in done.stdout
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True) as idle:
        wait(lambda: bool(queue.live_workers()))
        idle.send_signal(signal.SIGTERM)
        assert idle.wait(timeout=10) == 0
    assert not queue.live_workers()


def test_a_batch_longer_than_the_grace_period_is_abandoned_and_its_job_released(
    settings: Settings, queue: JobQueue
) -> None:
    identity = upload(queue, {"a.md": b"# A\n\nfirst"})
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
import test_worker as here
from indexing.worker.worker import stopped_by_signals
settings = here.Settings(home={str(settings.home)!r})
queue = here.JobQueue.from_settings(settings)
slow = here.Acting(lambda: print("encoding", flush=True) or time.sleep(100))
worker = here.worker(settings, queue, slow)
with stopped_by_signals(worker):
    worker.run()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "encoding\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0

    waiting = job_of(queue, identity)
    assert (waiting.state, waiting.attempts, waiting.stage) == (JobState.QUEUED, 0, "its worker stopped")
    run(settings, queue)
    assert job_of(queue, identity).state is JobState.DONE
    assert set(texts(settings)) == originals(settings) == {"a.md"}
