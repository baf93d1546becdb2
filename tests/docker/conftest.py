from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Engine, Stack, missing

from search_app.demo.documents import write_documents

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LONG = [f"python/{topic}.txt" for topic in ("assert", "del", "global", "lambda", "nonlocal", "pass", "with", "yield")]
CHOSEN = [*LONG, *(f"packages/{name}.md" for name in ("tokenizers", "httpx", "uvicorn", "fastapi"))]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine with both images built from this checkout."""
    if why := missing():
        pytest.skip(why)
    engine = Engine()
    try:
        for target in ("app", "ui"):
            start = time.perf_counter()
            engine.build(target)
            print(f"image {target}: {engine.size(target) / 1e6:.0f} MB, built in {time.perf_counter() - start:.0f} s")
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def start(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Start a compose project on real documents; at the end, it must leave nothing behind."""
    stacks: list[Stack] = []

    def build(**settings: str) -> Stack:
        folder = tmp_path_factory.mktemp("stack")
        everything, documents = folder / "everything", folder / "documents"
        write_documents(everything)
        for name in CHOSEN:
            (documents / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(everything / name, documents / name)
        for path in (documents, *documents.rglob("*")):  # readable for the user in the containers
            path.chmod(0o755 if path.is_dir() else 0o644)
        stacks.append(Stack(engine, folder, documents, settings))
        return stacks[-1]

    yield build
    left = [thing for stack in stacks for thing in stack.remove()]
    assert left == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    # Chromium's sandbox does not work for root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*sandbox, "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    window = browser.new_page()
    window.set_default_timeout(60_000)
    yield window
    window.close()


@pytest.fixture
def more_documents(tmp_path: Path) -> Path:
    """Enough documents to interrupt a job half-way: a part of Python's language reference."""
    write_documents(tmp_path / "all")
    folder = tmp_path / "more"
    folder.mkdir()
    for path in sorted((tmp_path / "all" / "python").iterdir())[::2]:
        shutil.copy(path, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder
