"""The tab with pictures of pages: where it is, what it shows, and the text in its place."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_files import SCAN, index_pages, index_scans
from scripted_api import ScriptedService, running
from streamlit.testing.v1 import AppTest

import ui
from search_app.settings import Settings
from ui import session
from ui.client import API_URL_VARIABLE, Client

VIEW = Path(ui.__file__).with_name("views") / "document.py"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    index_pages(settings)
    index_scans(settings)
    return settings


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with running(ScriptedService(settings), settings) as url:
        monkeypatch.setenv(API_URL_VARIABLE, url)
        session.client.clear()
        yield session.client()
        session.client.clear()


def opened(api: Client, collection: str, source: str, answer: tuple[str, str] = ("", ""), **query: str) -> AppTest:
    """The page of a document, opened at an answer that begins and ends with the given texts."""
    item = next(item for item in api.documents(collection, limit=20, offset=0).documents if source in item.source)
    text = api.document(collection, item.id, start=0, end=10_000).text
    app = AppTest.from_file(VIEW, default_timeout=30)
    if answer[0]:
        query |= {"start": str(text.index(answer[0])), "end": str(text.index(answer[1]) + len(answer[1]))}
    app.query_params.update({"id": f"{collection}/{item.id}", **query})
    return app.run()


def body(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.body for element in app.main.get("html"))


def pictures(app: AppTest) -> list[str]:
    """What the pictures are described as."""
    return [image.alt for element in app.main.get("image") for image in element.proto.imgs]


def links(app: AppTest) -> dict[str, str]:
    """The pages that links lead to, by their label."""
    found = re.findall(r'href="document\?([^"]*)" target="_self">([^<]*)<', body(app))
    return {label: re.search(r"page=(\d+)", html.unescape(link)).group(1) for link, label in found if "page=" in link}  # type: ignore[union-attr]


def test_an_answer_over_a_page_border_is_marked_in_the_text_of_both_pages(api: Client) -> None:
    shown = body(opened(api, "pages", "survey.pdf", ("measured", "plot 19")))
    first, second = shown.partition("Page 2")[::2]
    assert html.unescape(re.findall("<mark>(.*?)</mark>", first)[-1]).strip() == "measured"
    assert html.unescape(re.findall("<mark>(.*?)</mark>", second)[0]).strip() == "on plot 19"


def test_an_answer_in_a_text_opens_in_the_text(api: Client) -> None:
    app = opened(api, "pages", "survey.pdf", ("measured", "plot 19"))
    assert [tab.label for tab in app.tabs] == ["Text", "Pages", "How it is read"]
    assert not pictures(app)


def test_the_pages_begin_with_that_of_the_answer(api: Client) -> None:
    app = opened(api, "pages", "survey.pdf", ("on plot", "19"), view="Pages")
    assert pictures(app) == ["Page 2 of survey.pdf", "Page 3 of survey.pdf"]
    assert links(app) == {"Earlier pages": "1"}
    app = opened(api, "pages", "survey.pdf", ("on plot", "19"), view="Pages", page="3")
    assert pictures(app) == ["Page 3 of survey.pdf"]
    assert links(app) == {"Earlier pages": "1", "Back to the answer": "2"}


def test_without_an_answer_all_pages_can_be_turned(api: Client) -> None:
    app = opened(api, "pages", "survey.pdf", view="Pages")
    assert pictures(app) == [f"Page {number} of survey.pdf" for number in (1, 2, 3)]
    assert links(app) == {}
    for nonsense in ("x", "-1", "0", "9" * 30):
        assert pictures(opened(api, "pages", "survey.pdf", view="Pages", page=nonsense))


def test_an_answer_on_a_scan_opens_as_a_picture(api: Client) -> None:
    assert pictures(opened(api, "scans", "scan.png", ("3 May", "3 May"))) == ["Page 1 of scan.png"]
    assert not pictures(opened(api, "scans", "scan.png", ("3 May", "3 May"), view="Text"))
    assert not pictures(opened(api, "scans", "scan.png"))


def test_without_a_picture_the_text_is_shown_with_the_reason(api: Client) -> None:
    app = opened(api, "scans", "changed.png", ("3 May", "3 May"))
    assert not pictures(app)
    assert "<strong>No picture:</strong> changed.png has changed since it was indexed" in body(app)
    assert "<mark>3 May</mark>" in body(app)


def test_pages_of_other_formats_have_no_tab(api: Client) -> None:
    app = opened(api, "scans", "slides.pptx")
    assert [tab.label for tab in app.tabs] == ["Text", "How it is read"]
    assert SCAN.splitlines()[1] in html.unescape(body(app))
