"""One document as text, opened at the answer, or as the passages that it was split into."""

from __future__ import annotations

import streamlit as st

from search_app.api.schemas import DocumentResponse
from ui import cards, passages
from ui.client import ApiError
from ui.session import client, original_button, show_error

LEAD = 700  # characters shown before the answer, so that it stands on the first screen
SHOWN = 8000
MOST_PASSAGES = 200
TEXT, PASSAGES = "Text", "How it is read"


def main() -> None:
    """Draw the page."""
    given = st.query_params
    collection, _, document_id = given.get("id", "").partition("/")
    start, end = _number(given.get("start")), _number(given.get("end"))
    first = _number(given.get("first")) if "first" in given else max(0, start - LEAD)
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
    text, pieces = st.tabs([TEXT, PASSAGES], key="view", on_change="rerun", bind="query-params")
    if pieces.open:
        with pieces:
            _passages(item, collection, start, end)
    else:
        with text:
            _text(item, collection, start, end)


def _text(item: DocumentResponse, collection: str, start: int, end: int) -> None:
    _move(item, collection, start, end)
    st.html(cards.document(item, start, end))
    _move(item, collection, start, end)


def _passages(item: DocumentResponse, collection: str, start: int, end: int) -> None:
    """The passages of the part in `item`; the part ends earlier if it has very many."""
    try:
        found = client().passages(collection, item.id, start=item.start, end=item.end, limit=MOST_PASSAGES)
    except ApiError as error:
        show_error(error)
        return
    item = item if found.next is None else item.model_copy(update={"end": found.next})
    st.html(passages.overview(item, collection, view=PASSAGES))
    _move(item, collection, start, end, view=PASSAGES)
    st.html(passages.passages(found.passages, (start, end)))
    _move(item, collection, start, end, view=PASSAGES)


def _move(item: DocumentResponse, collection: str, start: int, end: int, *, view: str | None = None) -> None:
    """Links to the other parts of a long document."""
    steps = []
    if item.start > 0:
        steps.append(("Earlier", max(0, item.start - SHOWN)))
    if end > start and not item.start <= start < item.end:
        steps.append(("Back to the answer", max(0, start - LEAD)))
    if item.end < item.length:
        steps.append(("Later", item.end))
    if steps:
        links = [
            cards.place_link(label, collection, item.id, start, end, first=first, view=view) for label, first in steps
        ]
        st.html(f'<nav class="sa-move">{"".join(links)}</nav>')


def _number(text: str | None) -> int:
    """A position from the URL; 0 if it is not a number."""
    return min(int(text), 1 << 40) if text and text.isascii() and text.isdigit() else 0


main()
