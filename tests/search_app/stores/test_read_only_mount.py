"""A reader on a read-only mount while others write, as in a container beside the one that indexes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_embedded import INDEX_FILE, MANIFEST, SqliteWriter, build, change

from search_app.settings import VectorSettings
from search_app.stores.embedded.verify import verify

HERE = Path(__file__).resolve()
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && '
READER = """
import json, sys
from pathlib import Path
from test_embedded import ENCODER, SqliteStore
from search_app.settings import VectorSettings
store, vectors = None, ENCODER.encode_queries(["river"])
for line in sys.stdin:
    try:
        store = store or SqliteStore.open(Path(sys.argv[1]), collection="c", settings=VectorSettings(index=sys.argv[2]))
        (found,) = store.search_both(["paragraph"], vectors, k=10_000)
        said = {"generation": found.generation, "dense": sorted(hit.passage.document_id for hit in found.dense),
                "keyword": sorted(hit.passage.document_id for hit in found.keyword),
                "vectors": store.describe()["vector_index"]["kind"]}
    except Exception as error:
        said = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(said), flush=True)
"""

Ask = Callable[[], dict[str, Any]]


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = MOUNT + '! touch "$0/probe" 2>/dev/null'
    return subprocess.run([*NAMESPACE, "sh", "-c", probe, folder], capture_output=True).returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not can_mount(tmp_path):
        pytest.skip("no read-only mount can be made here: neither root nor user namespaces (unshare --mount)")
    return tmp_path


@pytest.fixture
def reader(folder: Path) -> Iterator[Callable[..., Ask]]:
    """Starts a process that has `folder` mounted read-only; the result is a function that searches in it."""
    processes: list[subprocess.Popen[str]] = []

    def start(index: str = "auto") -> Ask:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[2], *sys.path)))}
        process = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", f'{MOUNT} exec "$@"', folder, sys.executable, "-c", READER, folder, index],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        processes.append(process)

        def ask() -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("?\n")
            process.stdin.flush()
            said: dict[str, Any] = json.loads(process.stdout.readline())
            return said

        return ask

    yield start
    for process in processes:
        process.communicate()


def documents(answer: dict[str, Any]) -> list[str]:
    assert "error" not in answer, answer
    assert answer["dense"] == answer["keyword"]
    return list(answer["dense"])


def write(folder: Path, *numbers: int, settings: VectorSettings | None = None) -> None:
    with SqliteWriter(folder, MANIFEST, collection="c", settings=settings) as writer:
        writer.write([change(number) for number in numbers])
        writer.finish()


def test_it_sees_the_commits_of_a_writer_elsewhere(folder: Path, reader: Callable[[], Ask]) -> None:
    write(folder, 1)
    ask = reader()
    assert documents(ask()) == ["d1"]
    with SqliteWriter(folder, MANIFEST, collection="c") as writer:
        writer.write([change(2)])
        assert documents(ask()) == ["d1", "d2"], "while the writer is at work"
        writer.remove_files(["/1.txt"])
        assert documents(ask()) == ["d2"]
        writer.finish()
    assert documents(ask()) == ["d2"], "after the writer has gone"
    write(folder, 3)
    assert documents(ask()) == ["d2", "d3"], "from a writer that came and went between two questions"
    assert documents(reader()()) == ["d2", "d3"], "a reader that starts now"
    assert verify(folder, collection="c") == []


def test_it_follows_a_rebuild(folder: Path, reader: Callable[[], Ask]) -> None:
    write(folder, 1)
    ask = reader()
    assert documents(ask()) == ["d1"]
    with SqliteWriter(folder, MANIFEST, collection="c", rebuild=True) as writer:
        writer.write([change(7)])
        assert documents(ask()) == ["d1"]
        writer.finish()
    assert documents(ask()) == ["d7"]


def test_it_reads_the_commits_of_a_killed_writer(folder: Path, reader: Callable[[], Ask]) -> None:
    write(folder, 1)
    before = reader()
    assert documents(before()) == ["d1"]
    code = f"""
import signal
from test_embedded import *
writer = SqliteWriter(Path({str(folder)!r}), MANIFEST, collection="c")
writer.write([change(2)])
print("written", flush=True)
signal.pause()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[2])))}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert documents(before()) == ["d1", "d2"]
    assert documents(reader()()) == ["d1", "d2"], "a reader that starts on the log that was left"
    write(folder, 3)
    assert documents(before()) == ["d1", "d2", "d3"]


def test_an_index_without_a_log_is_read_until_a_writer_appears(folder: Path, reader: Callable[[], Ask]) -> None:
    write(folder, 1)
    for suffix in ("-wal", "-shm"):  # as in a copy of the index file alone
        (folder / f"{INDEX_FILE}{suffix}").unlink()
    ask = reader()
    assert documents(ask()) == ["d1"]
    write(folder, 2)
    assert documents(ask()) == ["d1", "d2"]
    write(folder, 3)
    assert documents(ask()) == ["d1", "d2", "d3"]


def test_it_uses_caches_written_elsewhere_and_later_commits(folder: Path, reader: Callable[..., Ask]) -> None:
    build(folder, 1_050)
    ask, other = reader(index="compressed"), reader(index="compressed")
    assert len(documents(ask())) == 1_050
    assert ask()["vectors"] == "flat", "only a writer trains"
    for number in (2_000, 2_001):
        write(folder, number, settings=VectorSettings(index="compressed"))
    for one in (ask, other):
        assert {"d2000", "d2001"} <= set(documents(one()))
        assert one()["vectors"] == "compressed"


def test_the_first_index_of_a_folder_is_noticed(folder: Path, reader: Callable[[], Ask]) -> None:
    ask = reader()
    assert ask()["error"] == "IndexNotFound"
    write(folder, 1)
    assert documents(ask()) == ["d1"]


@pytest.mark.parametrize("log", ["kept", "missing"])
def test_every_answer_sees_one_commit_while_writers_come_and_go(
    folder: Path, reader: Callable[[], Ask], log: str
) -> None:
    build(folder, 5)
    if log == "missing":
        for suffix in ("-wal", "-shm"):
            (folder / f"{INDEX_FILE}{suffix}").unlink()
    ask = reader()
    ask()
    code = f"""
from test_embedded import *
for start in range(5, 205, 5):
    with SqliteWriter(Path({str(folder)!r}), MANIFEST, collection="c") as writer:
        writer.write([change(number) for number in range(start, start + 5)])
        if start % 3 == 0:
            writer.finish()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, HERE.parents[2])))}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    counts = []
    while process.poll() is None:
        answer = ask()
        if answer.get("error") == "IndexBusy":  # the very moment in which the log appeared
            continue
        counts.append(len(documents(answer)))
    assert process.returncode == 0
    assert len(documents(ask())) == 205
    assert not [count for count in counts if count % 5]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "questions fell between the commits"
