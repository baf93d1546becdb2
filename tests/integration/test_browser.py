"""The search page in a real browser: files on disk, real models, API and UI as processes, Chromium.

`SEARCH_APP_SCREENSHOT=docs/images/search.png` keeps the picture that the README shows.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from browsing import CHROMIUM, START_S, chromium, patient, processes, window
from ports import free_port

from search_app.demo.documents import write_documents

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
expect = patient(playwright)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

QUESTION = "How long does it take to tokenize a GB of text?"
ANSWER = "less than 20 seconds"
INCLUDED = [
    f"python/{topic}.txt" for topic in ("global", "nonlocal", "assert", "del", "pass", "with", "yield", "lambda")
]
INCLUDED += [f"packages/{name}.*" for name in ("tokenizers", "httpx", "uvicorn", "fastapi", "pypdfium2")]
SCRIPT = "<script>window.ran = 'script'</script>"
IMAGE = "<img src=x onerror=\"window.ran = 'image'\">"
HOSTILE = f"The password of the vault is {SCRIPT} swordfish {IMAGE} and nobody else knows the password of the vault.\n"
HEBREW = "ירושלים היא עיר הבירה של מדינת ישראל. הכנסת שוכנת בירושלים ובה מאה ועשרים חברים.\n"
KEY = {"X-API-Key": "key-of-the-browser-test"}


@dataclass
class Site:
    url: str
    api: str
    documents: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    documents = folder / "documents"
    write_documents(documents)
    (documents / "vault.txt").write_text(HOSTILE, encoding="utf-8")
    (documents / "vault.txt.meta.json").write_text('{"title": "<img src=x onerror=window.ran=1>"}')
    (documents / "hebrew.txt").write_text(HEBREW, encoding="utf-8")
    includes = [f"--include={name}" for name in [*INCLUDED, "vault.txt", "hebrew.txt"]]
    ports = {"api": free_port(), "ui": free_port()}
    api = f"http://127.0.0.1:{ports['api']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEARCH_APP_")} | {
        "SEARCH_APP_HOME": str(folder / "home"),
        "SEARCH_APP_API__KEY": KEY["X-API-Key"],
    }
    subprocess.run(
        [sys.executable, "-m", "indexing.cli", "apply", "documents", *includes],
        cwd=folder,
        env=environment,
        check=True,
        timeout=START_S,
    )
    started = {
        "api": (["search_app.cli", "serve", "--port", str(ports["api"])], f"{api}/health/ready"),
        "ui": (
            ["ui", "--port", str(ports["ui"]), "--api-url", api],
            f"http://127.0.0.1:{ports['ui']}/_stcore/health",
        ),
    }
    with processes(started, folder=folder, environment=environment):
        yield Site(f"http://127.0.0.1:{ports['ui']}", api, documents)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with chromium(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    with window(browser) as page:
        yield page


def ask(page: playwright.Page, site: Site, question: str) -> None:
    page.goto(site.url)
    box = page.get_by_role("textbox", name="Question")
    box.fill(question)
    box.press("Enter")
    page.locator(".sa-hit").first.wait_for()


def words(text: str) -> str:
    return " ".join(text.split())


def test_an_answer_is_highlighted_in_its_passage(page: playwright.Page, site: Site) -> None:
    ask(page, site, QUESTION)
    mark = page.locator(".sa-passage mark").first
    mark.wait_for()
    assert mark.is_visible()
    assert words(mark.inner_text()) == words(page.locator(".sa-answer").first.inner_text())
    assert words(mark.inner_text()) == ANSWER
    assert mark.evaluate("mark => getComputedStyle(mark).backgroundColor") == "rgb(255, 229, 138)"
    answered = httpx.post(
        f"{site.api}/v1/collections/default/answer",
        json={"question": QUESTION},
        headers=KEY,
        trust_env=False,
        timeout=60,
    ).json()
    assert answered["answers"][0]["text"] == mark.inner_text()
    shown = [item for item in answered["answers"] if item["text"] and item["confidence"] >= 0.01]
    expect(page.locator(".sa-percent")).to_have_count(len(shown))
    expect(page.locator(".sa-source", has_text="documents/packages/tokenizers.md").first).to_be_visible()
    badges = page.locator(".sa-hit").first.locator(".sa-badge").all_inner_texts()
    assert {badge.split()[0] for badge in badges} <= {"dense", "BM25"}
    assert badges
    if picture := os.environ.get("SEARCH_APP_SCREENSHOT"):
        page.set_viewport_size({"width": 1100, "height": 1120})
        page.goto(f"{page.url}&answers=1")
        page.locator(".sa-hit").nth(2).wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=picture)


def test_the_url_of_a_search_can_be_shared(page: playwright.Page, site: Site) -> None:
    ask(page, site, QUESTION)
    page.wait_for_url("**/?q=*")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator(".sa-passage mark").first.wait_for()
    expect(page.get_by_role("textbox", name="Question")).to_have_value(QUESTION)


def test_show_in_document_opens_at_the_answer_and_back_returns(page: playwright.Page, site: Site) -> None:
    ask(page, site, QUESTION)
    page.locator(".sa-passage mark").first.wait_for()
    answer = page.locator(".sa-passage mark").first.inner_text()
    page.get_by_text("Show in document").first.click()
    mark = page.locator(".sa-reading mark").first
    mark.wait_for()
    assert words(mark.inner_text()) == words(answer)
    expect(mark).to_be_in_viewport()
    page.go_back()
    page.locator(".sa-passage mark").first.wait_for()
    expect(page.get_by_role("textbox", name="Question")).to_have_value(QUESTION)


def test_the_original_is_the_indexed_file(page: playwright.Page, site: Site) -> None:
    ask(page, site, "password of the vault")
    with page.expect_download() as download:
        page.get_by_role("button", name="Original").first.click()
    name = download.value.suggested_filename
    assert Path(download.value.path()).read_bytes() == (site.documents / name).read_bytes()


def test_indexed_html_is_never_executed(page: playwright.Page, site: Site) -> None:
    ask(page, site, "What is the password of the vault?")
    found = page.locator(".sa-passage", has_text="swordfish").first
    found.wait_for()
    assert SCRIPT in words(found.inner_text())
    assert IMAGE in words(found.inner_text())
    assert page.evaluate("window.ran") is None
    page.get_by_text("Show in document").first.click()
    reading = page.locator(".sa-reading")
    reading.wait_for()
    assert SCRIPT in reading.inner_text()
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    page.goto(f"{site.url}/documents")
    page.get_by_text("<img src=x onerror=window.ran=1>").first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None


def test_right_to_left_text_is_right_aligned(page: playwright.Page, site: Site) -> None:
    ask(page, site, "היכן שוכנת הכנסת?")
    passage = page.locator(".sa-hit .sa-passage", has_text="ירושלים").first
    passage.wait_for()
    assert passage.evaluate("passage => getComputedStyle(passage).direction") == "rtl"


def test_the_ui_refuses_an_unknown_host_name(site: Site) -> None:
    def status(host: str) -> int:
        connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=20)
        connection.request(
            "GET",
            "/_stcore/stream",
            headers={
                "Host": host,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
        answer = connection.getresponse().status
        connection.close()
        return answer

    assert status("127.0.0.1") == 101
    assert status("evil.example.org") == 403


def test_the_api_behind_the_ui_requires_the_key(site: Site) -> None:
    assert httpx.get(f"{site.api}/v1/collections", trust_env=False).status_code == 401
