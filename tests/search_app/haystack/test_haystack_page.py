"""docs/haystack.md says what is so."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import documentation
import httpx
import pytest
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "haystack.md").read_text()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("# Leave\n\nEmployees have 27 days of annual leave.\n")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEARCH_APP_HOME": str(tmp_path / "home"),
    }


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, environment: dict[str, str]) -> None:
    outputs = []
    for block in documentation.to_run("docs/haystack.md"):
        command = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-ec", block.text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    exported, best, written, printed, answered = outputs
    assert "27" in exported
    assert best.startswith("27")
    assert written.strip() == "{'documents_written': 1}"
    assert printed.strip() == "Parental leave lasts up to fourteen months."
    assert "fourteen months" in answered
    assert "type: search_app.haystack.retrievers.SearchAppHybridRetriever" in (tmp_path / "asking.yaml").read_text()


@pytest.mark.slow
def test_the_hayhooks_example_answers_over_http(tmp_path: Path, environment: dict[str, str]) -> None:
    hayhooks = shutil.which("hayhooks", path=environment["PATH"])
    if hayhooks is None:
        pytest.skip("needs Hayhooks: pip install hayhooks")
    (wrapper,) = (
        block.text for block in documentation.blocks("docs/haystack.md") if "import BasePipeline" in block.text
    )
    (tmp_path / "pipelines" / "ask").mkdir(parents=True)
    (tmp_path / "pipelines" / "ask" / "pipeline_wrapper.py").write_text(wrapper)
    index = [sys.executable, "-m", "indexing.cli", "apply", "handbook"]
    subprocess.run(index, cwd=tmp_path, env=environment, check=True, timeout=120)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [hayhooks, "run", "--port", str(port), "--pipelines-dir", "pipelines"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(f"{url}/status", server)
            reply = httpx.post(f"{url}/ask/run", json={"question": "How many days of leave are there?"}, timeout=60)
            assert reply.json()["result"][0]["answer"] == "27"
        finally:
            server.terminate()


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"nothing answers at {url}")


def test_the_page_names_each_of_haystacks_test_classes() -> None:
    table = PAGE.split("## Haystack's own tests")[1]
    for module, suffix in ((sync_tests, "Test"), (async_tests, "AsyncTest")):
        names = [
            name.removesuffix(suffix)
            for name, found in vars(module).items()
            if inspect.isclass(found) and found.__module__ == module.__name__ and name.endswith((suffix, "Tests"))
        ]
        assert len(names) >= 12
        for name in names:
            assert f"`{name}`" in table or f"`{name}Test`" in table, name
