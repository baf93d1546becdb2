"""Start the API, the page and workers as processes, and open the page in a real Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_S = 180


@contextmanager
def processes(
    started: Mapping[str, tuple[Sequence[str], str | None]], *, folder: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """`started` maps the name of a log to arguments of python -m and a URL that answers 200 when ready, or None."""
    with ExitStack() as stack:
        waiting = []
        for name, (arguments, url) in started.items():
            log = folder / f"{name}.log"
            output = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=folder, env=dict(environment), stdout=output, stderr=output
            )
            stack.callback(_end, process)
            waiting.append((url, process, log))
        for url, process, log in waiting:
            if url is not None:
                _wait_for(url, process, log)
        yield


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ended with {process.returncode}:\n{log.read_text()}"
        try:
            if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{url} was not ready after {START_S} s:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def patient(playwright: Any) -> Any:
    """Playwright's `expect` with a long timeout: Streamlit replaces a page element by element."""
    playwright.expect.set_options(timeout=30_000)
    return playwright.expect


@contextmanager
def chromium(playwright: Any) -> Iterator[Any]:
    # Chromium's sandbox does not work for root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*sandbox, "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextmanager
def window(browser: Any) -> Iterator[Any]:
    """A browser page; fails if it loads anything from another machine or opens a dialog."""
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(60_000)
    strangers: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: strangers.append(request.url) if _is_stranger(request.url) else None)
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    assert strangers == [], "the page loads nothing from other machines"
    assert dialogs == []
    page.close()


def _is_stranger(url: str) -> bool:
    return url.startswith(("http", "ws")) and "//127.0.0.1:" not in url
