"""The API's documentation in a real browser, with nothing but this machine to load from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, chromium, patient, window
from scripted_api import ScriptedService, Text, index, running

from search_app.settings import ApiSettings, Settings

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
expect = patient(playwright)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

KEY = "key-of-the-browser-test"


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with chromium(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    with window(browser) as page:
        yield page


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    index(settings, [Text("global.txt", "The global statement makes names refer to globals.")])
    return settings


def try_out(page: playwright.Page) -> playwright.Locator:
    """Asks the first example question; returns the live response."""
    operation = page.locator("#operations-search-search_v1_collections__name__search_post")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("name").fill("default")
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table .response").first


def test_try_it_out_works_with_the_key_and_not_without(page: playwright.Page, settings: Settings) -> None:
    locked = settings.model_copy(update={"api": ApiSettings(key=KEY)})
    with running(ScriptedService(locked), locked) as url:
        page.goto(f"{url}/docs")
        response = try_out(page)
        expect(response).to_contain_text("401")
        expect(response).to_contain_text("an API key is needed")
        page.get_by_role("button", name="Authorize").first.click()
        dialog = page.locator(".auth-container", has_text="X-API-Key")
        dialog.get_by_role("textbox").fill(KEY)
        dialog.get_by_role("button", name="Apply credentials").click()
        page.get_by_role("button", name="Close").first.click()
        page.get_by_role("button", name="Execute").click()
        expect(response).to_contain_text("200")
        expect(response).to_contain_text("global.txt")


def test_without_a_key_no_key_is_asked_for(page: playwright.Page, settings: Settings) -> None:
    with running(ScriptedService(settings), settings) as url:
        page.goto(f"{url}/docs")
        response = try_out(page)
        expect(response).to_contain_text("global.txt")
        expect(page.get_by_role("button", name="Authorize")).to_have_count(0)
