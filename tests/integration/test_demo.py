from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ports import free_port

from search_app.demo.documents import write_documents
from search_app.demo.processes import ProcessGroup, require_free
from search_app.errors import ConfigurationError, SearchAppError

SMALL_DEMO = """
import sys
from pathlib import Path
from pydoc_data.topics import topics
from search_app.demo import run_demo

def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("global", "nonlocal", "lambda", "with"):
        path = folder / f"{name}.txt"
        if not path.exists():
            path.write_text(topics[name], encoding="utf-8")
    return 4

home, port, ui_port, *ask = sys.argv[1:]
sys.exit(run_demo(Path(home), ask=ask[0] if ask else None, port=int(port), ui_port=int(ui_port), write=write))
"""


def small_demo(home: Path, port: int = 0, ui_port: int = 1, *ask: str) -> list[str]:
    return [sys.executable, "-c", SMALL_DEMO, str(home), str(port), str(ui_port), *ask]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    with ProcessGroup(os.environ) as group:
        yield group


def test_the_demo_answers_a_question_on_the_terminal(home: Path) -> None:
    done = subprocess.run(
        small_demo(home, 0, 1, "What are lambda expressions used to create?"),
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "lambda.txt" in done.stdout
    assert "[anonymous functions]" in " ".join(done.stdout.split()), "the answer is not marked in its passage"
    assert "4 added" in done.stderr


def test_a_second_start_indexes_nothing_accepts_uploads_and_stops_cleanly(home: Path) -> None:
    port, ui_port = free_port(), free_port()
    demo = subprocess.Popen(small_demo(home, port, ui_port), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        line = demo.stdout.readline()
        assert f"http://127.0.0.1:{ui_port}" in line, demo.communicate()[1]
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/collections/default/answer", json={"question": "What is a lambda?"}, timeout=60
        )
        assert answer.json()["hits"][0]["source"].endswith("lambda.txt")
        assert "<html" in httpx.get(f"http://127.0.0.1:{ui_port}/").text
        assert uploaded(f"http://127.0.0.1:{port}", "ferry.txt", b"The ferry leaves at nine.")["state"] == "done"
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert demo.returncode == 0
    assert "\n4 unchanged in " in errors
    for number in (port, ui_port):
        require_free(number, option="--port")


def uploaded(api: str, name: str, content: bytes) -> dict[str, object]:
    """Upload a file and wait for its job; returns the finished job."""
    address = f"{api}/v1/collections/default/jobs"
    job = httpx.post(address, files={"files": (name, content)}, timeout=60).json()
    deadline = time.monotonic() + 120
    while job["ended"] is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
        job = httpx.get(f"{address}/{job['id']}", timeout=60).json()
    return job  # type: ignore[no-any-return]


def test_a_port_in_use_is_reported_before_indexing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "search_app.cli", "demo", "--home", str(tmp_path), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == ConfigurationError.exit_code
    assert done.stderr.splitlines() == [
        f"error: port {port} is in use; stop the program that uses it, or choose another with --port"
    ]
    assert not list(tmp_path.iterdir())


def test_a_process_that_dies_is_reported_with_its_last_output(group: ProcessGroup, tmp_path: Path) -> None:
    child = group.start("the API", "search_app.cli", "serve", "--nonsense", log=tmp_path / "api.log")
    with pytest.raises(SearchAppError, match=r"the API stopped with exit code 2: .*No such option.*; see .*api\.log"):
        group.until_ready(child, "http://127.0.0.1:9/", timeout=60)


def test_a_signal_also_stops_grandchildren(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    pid_file = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with ProcessGroup(environment) as group:
        parent = group.start("a parent", "parent", str(pid_file))
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert parent.process.returncode == -signal.SIGTERM
    assert _gone(int(pid_file.read_text()))


def test_unchanged_demo_documents_are_not_rewritten(tmp_path: Path) -> None:
    count = write_documents(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    changed = tmp_path / "python" / "global.txt"
    changed.write_text("something else")
    assert write_documents(tmp_path) == count == len(before)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path for path in before if before[path] != after[path]] == [changed]
    assert 'The "global" statement' in changed.read_text()
    assert len(list((tmp_path / "packages").iterdir())) > 20


def test_a_full_disk_gives_a_one_line_error(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        with pytest.raises(SearchAppError, match="is full; free some space"):
            write_documents(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _gone(pid: int) -> bool:
    """Whether the process has ended; a zombie counts as ended."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError as error:
            return error.errno in (errno.ESRCH, errno.ENOENT)
        time.sleep(0.1)
    return False
