"""Pictures of pages: the page as it is in the file, with the answer marked in its place."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pypdfium2
import pytest
from page_files import SCAN, SIZE, index_pages, index_scans
from PIL import Image, ImageChops
from scripted_api import ScriptedService, running

from search_app.settings import Settings

WIDTH = 600


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    index_pages(settings)
    index_scans(settings)
    return settings


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[httpx.Client]:
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def address(api: httpx.Client, collection: str, source: str) -> str:
    path = f"/v1/collections/{collection}/documents"
    return f"{path}/{next(item['id'] for item in api.get(path).json()['documents'] if item['source'].endswith(source))}"


def picture(api: httpx.Client, document: str, number: int, start: int = 0, end: int = 0) -> Image.Image:
    response = api.get(f"{document}/pages/{number}.png", params={"start": start, "end": end, "width": WIDTH})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(response.content))


def marked(api: httpx.Client, document: str, number: int, start: int, end: int) -> tuple[int, int, int, int] | None:
    """Where the picture differs from the one without a mark, in pixels."""
    pictures = (picture(api, document, number), picture(api, document, number, start, end))
    return ImageChops.difference(*pictures).getbbox()


def place_in_pdf(settings: Settings, number: int, text: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in pixels, as PDFium finds the text by itself."""
    with pypdfium2.PdfDocument(settings.home / "pages" / "survey.pdf") as pdf:
        page = pdf[number - 1]
        found = page.get_textpage().search(text).get_next()
        assert found is not None
        boxes = [page.get_textpage().get_charbox(position) for position in range(found[0], found[0] + found[1])]
        width, height = page.get_size()
    scale = WIDTH / width
    left, right = min(box[0] for box in boxes) * scale, max(box[2] for box in boxes) * scale
    top, bottom = (height - max(box[3] for box in boxes)) * scale, (height - min(box[1] for box in boxes)) * scale
    return left, top, right, bottom


def test_an_answer_over_a_page_border_is_marked_on_both_pages(api: httpx.Client, settings: Settings) -> None:
    document = address(api, "pages", "survey.pdf")
    whole = api.get(document).json()
    start, end = whole["text"].index("measured"), whole["text"].index("plot 19") + len("plot 19")
    first, second, _ = whole["pages"]
    assert first["start"] < start < first["end"] <= second["start"] + 1 < end < second["end"]
    assert marked(api, document, 1, start, end) == pytest.approx(place_in_pdf(settings, 1, "measured"), abs=5)
    assert marked(api, document, 2, start, end) == pytest.approx(place_in_pdf(settings, 2, "on plot 19"), abs=5)
    assert marked(api, document, 3, start, end) is None


def test_an_answer_on_a_scan_is_marked_at_its_words(api: httpx.Client) -> None:
    document = address(api, "scans", "scan.png")
    shown = picture(api, document, 1)
    assert shown.size == SIZE, "a small picture is not enlarged"
    start = SCAN.index("3 May")
    assert marked(api, document, 1, start, start + 5) == pytest.approx((40, 100, 360, 120), abs=3)
    assert marked(api, document, 1, 0, 3) == pytest.approx((40, 20, 160, 40), abs=3)
    assert marked(api, document, 1, 8, 9) is None


def test_a_picture_is_as_wide_as_asked(api: httpx.Client) -> None:
    document = address(api, "pages", "survey.pdf")
    for width in (50, 321, 2000):
        response = api.get(f"{document}/pages/1.png", params={"width": width})
        found = Image.open(io.BytesIO(response.content))
        assert found.width == pytest.approx(width, abs=1)
        assert found.height / found.width == pytest.approx(297 / 210, rel=0.02)
    for wrong in ({"width": 49}, {"width": 2001}, {"start": -1}, {"end": 10**30}):
        assert api.get(f"{document}/pages/1.png", params=wrong).status_code == 422


@pytest.mark.parametrize(
    ("source", "number", "status", "message"),
    [
        ("scan.png", 2, 404, "scan.png has no page 2"),
        ("slides.pptx", 1, 404, "slides.pptx is neither a PDF nor a picture: its pages cannot be drawn"),
        ("changed.png", 1, 410, "changed.png has changed since it was indexed; run: search-index apply"),
        ("broken.pdf", 1, 422, "page 1 of broken.pdf cannot be drawn: it is damaged: PDFium cannot draw it"),
        ("huge.png", 1, 422, "page 1 of huge.png cannot be drawn: it has more than 150 megapixels"),
    ],
)
def test_a_page_that_cannot_be_drawn_is_named_with_the_reason(
    api: httpx.Client, source: str, number: int, status: int, message: str
) -> None:
    response = api.get(f"{address(api, 'scans', source)}/pages/{number}.png")
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)


def test_after_a_hostile_file_the_next_page_is_drawn(api: httpx.Client) -> None:
    assert api.get(f"{address(api, 'scans', 'huge.png')}/pages/1.png").status_code == 422
    assert picture(api, address(api, "scans", "scan.png"), 1).size == SIZE


def test_an_unknown_document_has_no_pages(api: httpx.Client) -> None:
    response = api.get("/v1/collections/scans/documents/nosuch/pages/1.png")
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "no document nosuch in collection 'scans'"
