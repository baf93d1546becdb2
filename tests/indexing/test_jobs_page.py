"""docs/jobs.md runs from top to bottom, with a real API and a real worker, and says what happens."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import documentation
import httpx
import pytest

from search_app.queue.jobs import JobState
from search_app.queue.queue import JobQueue
from search_app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "jobs.md").read_text()
SERVICES = ("search-app serve", "search-index worker")


@dataclass
class Machine:
    folder: Path
    port: int
    services: dict[str, subprocess.Popen[bytes]]

    def __post_init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEARCH_APP_")}
        self.environment = {
            **clean,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SEARCH_APP_HOME": str(self.folder / "home"),
            "SEARCH_APP_JOBS__FOLDERS": json.dumps({"handbook": str(self.folder / "handbook")}),
        }

    def start(self, command: str) -> None:
        arguments = [*command.split(), *(["--port", str(self.port)] if "serve" in command else [])]
        self.services[command] = subprocess.Popen(
            arguments, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def run(self, script: str) -> str:
        script = script.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        done = subprocess.run(
            ["bash", "-ec", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until_done(self) -> None:
        def states() -> dict[JobState, int]:
            with closing(JobQueue(self.folder / "home" / "jobs")) as queue:
                return queue.count_by_state() if queue.exists() else {}

        deadline = time.monotonic() + 120
        while any(states().get(state) for state in (JobState.QUEUED, JobState.RUNNING)):
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("# Leave\n\nThere are 27 days of annual leave.\n")
    (tmp_path / "guide.txt").write_text("Trains are booked in second class.\n")
    with zipfile.ZipFile(tmp_path / "minutes.zip", "w") as bundle:
        bundle.writestr("minutes/2026-01.txt", "Grace Hopper was elected as the chair of the board.\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    machine = Machine(tmp_path, port, {})
    yield machine
    for service in machine.services.values():
        service.kill()
        service.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_runs_from_top_to_bottom(machine: Machine) -> None:
    url = f"http://127.0.0.1:{machine.port}/v1/collections/default"
    said: list[str] = []
    for block in (found.text for found in documentation.to_run("docs/jobs.md")):
        if block.splitlines() == [*SERVICES]:
            for command in SERVICES:
                machine.start(command)
            _until_live(machine)
        else:
            said.append(machine.run(block))
            machine.until_done()
            jobs = httpx.get(f"{url}/jobs").json()
            assert {job["state"] for job in jobs["jobs"]} == {"done"}, jobs
            if "minutes.zip" in block:
                found = httpx.post(f"{url}/answer", json={"question": "Who was elected as the chair?"}).json()
                assert found["answers"][0]["text"] == "Grace Hopper"
                assert found["answers"][0]["source"] == "minutes/2026-01.txt"
    assert "stopped" in said[-1]
    assert [job["title"] for job in reversed(jobs["jobs"])] == [
        "2 files", "folder handbook", "folder handbook", "delete 1 source", "delete by filter",
    ]  # fmt: skip
    assert jobs["workers"] == 1
    documents = httpx.get(f"{url}/documents").json()["documents"]
    assert {Path(item["source"]).name for item in documents} == {"2026-01.txt", "leave.md"}
    worker = machine.services["search-index worker"]
    worker.terminate()
    assert worker.wait(30) == 0


def _until_live(machine: Machine) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert all(service.poll() is None for service in machine.services.values())
        assert time.monotonic() < deadline
        try:
            if httpx.get(f"http://127.0.0.1:{machine.port}/health/live").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)


def test_its_settings_are_there() -> None:
    named = set(re.findall(r"`jobs\.(\w+)`", PAGE)) | {
        name.lower() for name in re.findall(r"SEARCH_APP_JOBS__(\w+)", PAGE)
    }
    assert named <= set(type(Settings().jobs).model_fields)
    assert {"max_upload_mb", "max_files", "max_unpacked_mb", "max_ratio", "folders", "lease_seconds"} <= named
