"""Adding documents on the page in a real browser: API, worker and UI as processes, real models, Chromium.

`SEARCH_APP_SCREENSHOT_ADD=docs/images/add.png` keeps the picture that the documentation shows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, chromium, patient, processes, window
from ports import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
expect = patient(playwright)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

BRIDGE = """# The bridge of Halden

The bridge of Halden was opened in 1931. It was designed by the engineer Marta Lindqvist, who had learned her trade at
the shipyards of Gothenburg, and it carries the coast road over the river Tista.
"""
FERRY = "The ferry to the island leaves at a quarter past nine, and the last one comes back at six in the evening.\n"
FILES = {"bridge.md": BRIDGE, "broken <b>.pdf": "this is no PDF at all", "ferry.txt": FERRY}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of an empty installation."""
    folder = tmp_path_factory.mktemp("site")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEARCH_APP_")} | {
        "SEARCH_APP_HOME": str(folder / "home")
    }
    port, ui_port = free_port(), free_port()
    api, ui = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}"
    started: dict[str, tuple[list[str], str | None]] = {
        "api": (["search_app.cli", "serve", "--port", str(port)], f"{api}/health/live"),
        "worker": (["indexing.cli", "worker"], None),
        "ui": (["ui", "--port", str(ui_port), "--api-url", api], f"{ui}/_stcore/health"),
    }
    with processes(started, folder=folder, environment=environment):
        yield ui


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with chromium(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    with window(browser) as page:
        yield page


def test_uploaded_files_are_indexed_searched_and_deleted(page: playwright.Page, site: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda payload: sent.append("frame")))

    # As the first page of a session, it has its styles and the links to the other pages.
    page.goto(f"{site}/add")
    page.get_by_role("link", name="Documents").wait_for()
    collection = page.get_by_role("combobox", name="Collection")
    collection.fill("town")
    collection.press("Enter")
    page.wait_for_url("**/add?collection=town")
    # Files that are picked while the page is drawn again are lost with the old field.
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()

    page.locator("input[type=file]").set_input_files([tmp_path / name for name in FILES])
    page.get_by_role("button", name="Add 3 files").click()
    page.get_by_role("progressbar").wait_for()
    expect(page.locator(".sa-job-title").first).to_contain_text("3 files")
    page.get_by_text("Plan: 3 to add").wait_for()
    page.get_by_text("Done, 1 failed").wait_for(timeout=120_000)
    expect(page.locator(".sa-job-line").nth(1)).to_have_text(re.compile(r"^2 added, 1 failed in .* · \d+ passages"))
    expect(page.locator(".sa-problems li")).to_have_text([re.compile(r"^broken <b>\.pdf.*PDF")])
    expect(page.get_by_role("progressbar")).to_have_count(0)
    page.wait_for_timeout(1000)
    sent.clear()
    page.wait_for_timeout(2500)
    assert sent == [], "nothing is asked while nothing goes on"
    if picture := os.environ.get("SEARCH_APP_SCREENSHOT_ADD"):
        page.set_viewport_size({"width": 1100, "height": 760})
        page.screenshot(path=picture)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "a phone scrolls down only"
    page.set_viewport_size({"width": 1100, "height": 1000})

    page.get_by_role("link", name="Ask about them").click()
    question = page.get_by_role("textbox", name="Question")
    question.fill("Who designed the bridge of Halden?")
    question.press("Enter")
    mark = page.locator(".sa-passage mark").first
    expect(mark).to_contain_text("Marta Lindqvist")
    expect(page.locator(".sa-source").first).to_have_text("bridge.md")

    page.goto(f"{site}/documents?collection=town")
    page.get_by_text("2 documents").wait_for()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete this document").click()
    page.get_by_text("1 document", exact=True).wait_for()
    expect(page.locator(".sa-document .sa-source")).to_have_text(["ferry.txt"])

    page.get_by_text("Rename or delete this collection").click()
    page.get_by_role("textbox", name="New name").fill("city")
    if picture := os.environ.get("SEARCH_APP_SCREENSHOT_COLLECTION"):
        page.screenshot(path=picture)
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.get_by_role("combobox", name="Collection")).to_have_value("city")
    page.get_by_text("1 document", exact=True).wait_for()
    open_menu(page, "city")

    page.get_by_role("textbox", name="Name of the collection to delete").fill("town")
    page.get_by_role("button", name="Delete collection").click()
    page.get_by_text("Type the name of the collection to delete it: city").wait_for()
    page.get_by_role("textbox", name="Name of the collection to delete").fill("city")
    page.get_by_role("button", name="Delete collection").click()
    page.get_by_text("Nothing is indexed yet").or_(page.get_by_role("link", name="Add documents")).first.wait_for()
    if picture := os.environ.get("SEARCH_APP_SCREENSHOT_COLLECTION"):
        page.screenshot(path=f"{picture}.empty.png")


def open_menu(page: playwright.Page, collection: str) -> None:
    """Open the form of this collection. It closes if the page is drawn just while the old name is gone."""
    field = page.get_by_role("textbox", name="New name")
    for _ in range(40):
        if not field.is_visible():
            page.get_by_text("Rename or delete this collection").click()
        elif field.input_value() == collection:
            return
        page.wait_for_timeout(500)
    pytest.fail(f"the form of {collection} does not open")
