"""Ten jobs sent to a real API and run by a real worker; both are killed at random moments and restarted.

Beside them a twin does the same jobs without a kill: in the end both must hold the same. As a program it is the API
or the worker: queue_kills.py api|worker HOME PORT.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from living_index import PARAGRAPHS, contents, encoder_of, fast_folder
from scripted_api import ScriptedService

from indexing.worker.worker import Worker, stopped_by_signals
from search_app.api.app import create_app
from search_app.queue.jobs import JobState
from search_app.queue.queue import JobQueue
from search_app.settings import JobSettings, Settings, SplitterSettings
from search_app.stores.catalog import open_catalog

COLLECTIONS = ("first", "second")
LIMIT_SECONDS = 240.0
_ROOT = Path(__file__).resolve().parents[2]

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Round:
    """`kills` counts killed processes, `interrupted` jobs that started again; `problems` lists broken guarantees."""

    job: str
    kills: int
    interrupted: int
    seconds: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """The request for a job: files to upload, or JSON."""

    collection: str
    files: Files = field(default_factory=dict)
    wanted: dict[str, Any] = field(default_factory=dict)


def tasks(chance: random.Random) -> list[Task]:
    """Ten jobs of all kinds, in two collections; later jobs depend on earlier ones."""

    def text(paragraphs: int = 3) -> bytes:
        return "\n\n".join(chance.sample(PARAGRAPHS, paragraphs)).encode()

    table = "name,price\n" + "".join(f"valve {number},{number}\n" for number in range(20))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for number in range(5):
            bundle.writestr(f"minutes/{number}.txt", text())
        bundle.writestr("minutes/setup.exe", b"MZ")
    first, second = COLLECTIONS
    again = text()
    return [
        Task(
            first,
            {
                "a.md": text(),
                "deep/b.json": json.dumps({"text": text().decode()}).encode(),
                "parts.csv": table.encode(),
            },
        ),
        Task(second, {"a.md": text(), "again.txt": again}),
        Task(first, {"minutes.zip": packed.getvalue()}),
        Task(first, wanted={"folder": "docs"}),
        Task(second, wanted={"delete": {"sources": ["again.txt"]}}),
        Task(second, {"good.txt": text(), "broken.pdf": b"\x89PNG\r\n\x1a\n" + bytes(50)}),
        Task(first, {"a.md": text(6), "c.txt": text(), "deep/b.json": b"{broken"}),
        Task(first, wanted={"delete": {"where": "format=csv"}}),
        Task(second, {"again.txt": again, "a.md": text(2)}),
        Task(second, wanted={"folder": "docs"}),
    ]


class Place:
    """A home folder with an API process and a worker process."""

    def __init__(self, home: Path, docs: Path) -> None:
        home.mkdir()
        self.settings = settings_of(home, docs)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self._docs = docs
        self._log = (home / "log").open("wb")
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}/v1", timeout=20)

    def start(self, name: str) -> None:
        home = str(self.settings.home)
        command = [sys.executable, __file__, name, home, str(self._docs), str(self._port)]
        path = os.pathsep.join(map(str, (_ROOT, _ROOT / "tests", _ROOT / "tests" / "reliability")))
        self._processes[name] = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=self._log, stderr=self._log
        )

    def kill(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                self._processes[name].send_signal(signal.SIGKILL)
            for name in names:
                self._processes[name].wait()
                self.start(name)

    def is_working(self, queue: JobQueue) -> bool:
        """Whether the current worker runs a job."""
        process = f"-{self._processes['worker'].pid}-"
        return any(job.state is JobState.RUNNING and process in str(job.worker) for job in queue.list(limit=100))

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._client.close()
        self._log.close()

    def send(self, task: Task, number: int) -> None:
        """Send the `number`-th job; if the response is lost, check whether it arrived."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if self._count() > number:
                    return
                self._post(task)
                return
            time.sleep(0.05)
        raise AssertionError(f"the API does not take job {number}")

    def _post(self, task: Task) -> None:
        path = f"/collections/{task.collection}/jobs"
        if task.files:
            files = [("files", (name, content)) for name, content in task.files.items()]
            answer = self._client.post(path, files=files)
        else:
            answer = self._client.post(path, json=task.wanted)
        assert answer.status_code == 202, answer.text

    def _count(self) -> int:
        return sum(self._client.get(f"/collections/{name}/jobs").json()["total"] for name in COLLECTIONS)

    def wait(self, count: int) -> list[str]:
        """Wait until that many jobs have ended; returns their problems."""
        deadline = time.monotonic() + LIMIT_SECONDS
        with closing(JobQueue.from_settings(self.settings)) as queue:
            while True:
                jobs = queue.list(limit=100)
                if len(jobs) >= count and all(job.state.ended for job in jobs):
                    break
                if time.monotonic() > deadline:
                    return [f"job '{job.title}' is {job.state}: {job.stage}" for job in jobs if not job.state.ended]
                time.sleep(0.1)
        wrong = [f"job '{job.title}' is {job.state}: {job.error}" for job in jobs if job.state is not JobState.DONE]
        return wrong if len(jobs) == count else [*wrong, f"{len(jobs)} jobs, not {count}"]


def settings_of(home: Path, docs: Path) -> Settings:
    return Settings(
        home=home,
        splitter=SplitterSettings(passage_tokens=64, overlap_tokens=8),
        jobs=JobSettings(folders={"docs": str(docs)}, lease_seconds=3),
    )


def state(settings: Settings, collections: Sequence[str] = COLLECTIONS) -> dict[str, Any]:
    """All documents and passages by names independent of the folder, and the originals of uploads."""
    found: dict[str, Any] = {}
    for name in collections:
        held = contents(settings.collection_folder(name))
        assert held is not None, f"no index of {name}"
        for _, title, source, *_, text in held.documents.values():
            key = f"{name}: document {source} {title}"
            assert key not in found or source.endswith(".csv"), f"{key} is there twice"
            found.setdefault(key, []).append(text)
        for id, (document, _, start, end, _, text, *_) in held.passages.items():
            source = held.documents[document][2]
            found.setdefault(f"{name}: passages of {source}", []).append((start, end, text))
            assert id in held.vectors, f"{name}: a passage of {source} has no vector"
        library = settings.jobs_folder / "library" / name
        for path in library.rglob("*"):
            if path.is_file():
                found[f"{name}: original {path.relative_to(library)}"] = path.read_bytes()
        with closing(open_catalog(settings)) as catalog:
            found[f"{name}: verify"] = catalog.verify(name)
    return {key: sorted(value) if isinstance(value, list) else value for key, value in found.items()}


def play(folder: Path, chance: random.Random, kills: int) -> Round:
    """Run ten jobs with that many kills, and the same jobs without any."""
    docs = folder / "docs"
    docs.mkdir()
    for number in range(6):
        (docs / f"{number}.txt").write_text("\n\n".join(chance.sample(PARAGRAPHS, 3)), encoding="utf-8")
    wanted = tasks(chance)
    began = time.monotonic()
    with (
        ThreadPoolExecutor(1) as pool,
        _place(folder / "killed", docs) as killed,
        _place(folder / "twin", docs) as twin,
    ):
        undisturbed = pool.submit(_undisturbed, twin, wanted)
        ended = threading.Event()
        struck: list[Sequence[str]] = []
        striking = threading.Thread(target=_strike, args=(killed, chance, kills, ended, struck))
        striking.start()
        try:
            for number, task in enumerate(wanted):
                killed.send(task, number)
                time.sleep(chance.uniform(0, 0.3))
            problems = killed.wait(len(wanted))
        finally:
            ended.set()
            striking.join()
        problems += [f"without a kill: {problem}" for problem in undisturbed.result()]
        whole, ours = state(twin.settings), state(killed.settings)
        with closing(JobQueue.from_settings(killed.settings)) as queue:
            interrupted = sum(job.attempts - 1 for job in queue.list(limit=100))
        left = [path.name for path in (killed.settings.jobs_folder / "staging").iterdir()]
    problems += [f"left in staging: {name}" for name in left]
    for key in whole.keys() | ours.keys():
        if ours.get(key) != whole.get(key):
            problems.append(f"{key}: {str(ours.get(key))[:200]!r} is not {str(whole.get(key))[:200]!r}")
    name = f"{len(wanted)} jobs"
    return Round(name, len(struck), interrupted, round(time.monotonic() - began, 1), tuple(problems))


def _undisturbed(place: Place, wanted: Sequence[Task]) -> list[str]:
    for number, task in enumerate(wanted):
        place.send(task, number)
    return place.wait(len(wanted))


def _strike(
    place: Place, chance: random.Random, kills: int, ended: threading.Event, struck: list[Sequence[str]]
) -> None:
    """Kill worker, API or both while a job runs, because a worker takes longer to start than a job to finish."""
    with closing(JobQueue.from_settings(place.settings)) as queue:
        for _ in range(kills):
            names = chance.choice([("worker",), ("api",), ("worker", "api")])
            while "worker" in names and not ended.is_set() and not place.is_working(queue):
                ended.wait(0.01)
            if ended.wait(chance.uniform(0, 1.0)):
                return
            place.kill(names)
            struck.append(names)


@contextmanager
def _place(home: Path, docs: Path) -> Iterator[Place]:
    place = Place(home, docs)
    try:
        place.start("api")
        place.start("worker")
        yield place
    finally:
        place.close()


def rounds(seed: int, numbers: range, *, kills: int = 3) -> Iterator[Round]:
    for number in numbers:
        with fast_folder() as folder:
            yield play(folder, random.Random(f"{seed}:{number}"), kills)


def _serve(settings: Settings, port: int) -> None:
    app = create_app(ScriptedService(settings), settings)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def _work(settings: Settings, port: int) -> None:
    with closing(JobQueue.from_settings(settings)) as queue:
        worker = Worker(settings, queue, load_encoder=lambda _: encoder_of(), echo=lambda line: print(line, flush=True))
        with stopped_by_signals(worker):
            worker.run()


PROGRAMS: dict[str, Callable[[Settings, int], None]] = {"api": _serve, "worker": _work}


if __name__ == "__main__":
    program, home, docs, port = sys.argv[1:]
    PROGRAMS[program](settings_of(Path(home), Path(docs)), int(port))
