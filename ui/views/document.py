"""One document, opened at the answer: its text, pictures of its pages, or the passages that it was split into."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from indexing import formats
from search_app.api.schemas import DocumentResponse
from ui import cards, passages, pictures
from ui.client import ApiError
from ui.session import client, original_button, show_error

LEAD = 700  # characters shown before the answer, so that it stands on the first screen
SHOWN = 8000
MOST_PASSAGES = 200
MOST_PICTURES = 3
PICTURE_WIDTH = 1400  # pixels, for screens with two of them for each point
TEXT, PAGES, PASSAGES = "Text", "Pages", "How it is read"


class Place(NamedTuple):
    """A document, and characters [start, end) of it, the answer; both are 0 without one."""

    collection: str
    document_id: str
    start: int
    end: int

    def link(self, label: str, *, first: int | None = None, page: int | None = None, view: str | None = None) -> str:
        """A link to another part of the document, with the same answer."""
        return cards.place_link(
            label, self.collection, self.document_id, self.start, self.end, first=first, page=page, view=view
        )


def main() -> None:
    """Draw the page."""
    given = st.query_params
    collection, _, document_id = given.get("id", "").partition("/")
    place = Place(collection, document_id, _number(given.get("start")), _number(given.get("end")))
    first = _number(given.get("first")) if "first" in given else max(0, place.start - LEAD)
    if not document_id:
        st.html(cards.problem("no document was chosen; pick one under Documents"))
        return
    try:
        item = client().document(collection, document_id, start=first, end=first + SHOWN)
    except ApiError as error:
        show_error(error)
        return
    st.html(cards.document_head(item))
    with st.container(horizontal=True, key="ways-original"):
        original_button(collection, document_id, item.source, item.url, key="original")
    _tabs(item, place)


def _tabs(item: DocumentResponse, place: Place) -> None:
    """Only the open one is drawn. An answer on a scan is shown on its picture first."""
    names = [TEXT, PAGES, PASSAGES] if _can_draw(item) else [TEXT, PASSAGES]
    default = PAGES if PAGES in names and pictures.on_a_scan(item, place.start, place.end) else TEXT
    tabs = st.tabs(names, default=default, key="view", on_change="rerun", bind="query-params")
    draw = {TEXT: _text, PAGES: _pages, PASSAGES: _passages}
    for name, tab in zip(names, tabs, strict=True):
        if tab.open:
            with tab:
                draw[name](item, place)


def _can_draw(item: DocumentResponse) -> bool:
    """Whether the API can draw the document's pages. An attachment has the format of its mail."""
    format = formats.BY_NAME.get(str(item.meta.get("format", "")))
    return bool(item.pages) and format is not None and bool(format.drawer)


def _text(item: DocumentResponse, place: Place) -> None:
    _move(item, place)
    st.html(cards.document(item, place.start, place.end))
    _move(item, place)


def _pages(item: DocumentResponse, place: Place) -> None:
    """A few pages as pictures; the text, as on its own tab, with the reason if one cannot be drawn."""
    given = _number(st.query_params.get("page"))
    position = place.start if place.end > place.start and "first" not in st.query_params else item.start
    numbers = pictures.chosen(item, given or pictures.page_at(item, position), MOST_PICTURES)
    _turn(item, place, numbers)
    for number in numbers:
        try:
            picture = client().page(
                place.collection, item.id, number, start=place.start, end=place.end, width=PICTURE_WIDTH
            )
        except ApiError as error:
            st.html(pictures.missing(error.message))
            _text(item, place)
            return
        st.html(f'<div class="sa-page">Page {number}</div>')
        name = f"Page {number} of {cards.name_of(item.source)}"
        st.image(picture, width="stretch", output_format="PNG", alt=name)
    _turn(item, place, numbers)


def _turn(item: DocumentResponse, place: Place, numbers: range) -> None:
    """Links to the pages before and after the shown ones."""
    steps = []
    if numbers.start > 1:
        steps.append(("Earlier pages", max(1, numbers.start - MOST_PICTURES)))
    if place.end > place.start and (answer := pictures.page_at(item, place.start)) not in numbers:
        steps.append(("Back to the answer", answer))
    if numbers.stop <= item.pages[-1].number:
        steps.append(("Later pages", numbers.stop))
    _links([place.link(label, page=page, view=PAGES) for label, page in steps])


def _passages(item: DocumentResponse, place: Place) -> None:
    """The passages of the part in `item`; the part ends earlier if it has very many."""
    try:
        found = client().passages(place.collection, item.id, start=item.start, end=item.end, limit=MOST_PASSAGES)
    except ApiError as error:
        show_error(error)
        return
    item = item if found.next is None else item.model_copy(update={"end": found.next})
    st.html(passages.overview(item, place.collection, view=PASSAGES))
    _move(item, place, view=PASSAGES)
    st.html(passages.passages(found.passages, (place.start, place.end)))
    _move(item, place, view=PASSAGES)


def _move(item: DocumentResponse, place: Place, *, view: str | None = None) -> None:
    """Links to the other parts of a long document."""
    steps = []
    if item.start > 0:
        steps.append(("Earlier", max(0, item.start - SHOWN)))
    if place.end > place.start and not item.start <= place.start < item.end:
        steps.append(("Back to the answer", max(0, place.start - LEAD)))
    if item.end < item.length:
        steps.append(("Later", item.end))
    _links([place.link(label, first=first, view=view) for label, first in steps])


def _links(links: list[str]) -> None:
    if links:
        st.html(f'<nav class="sa-move">{"".join(links)}</nav>')


def _number(text: str | None) -> int:
    """A position from the URL; 0 if it is not a number."""
    return min(int(text), 1 << 40) if text and text.isascii() and text.isdigit() else 0


main()
