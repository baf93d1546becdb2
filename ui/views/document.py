"""One document as text, opened at the answer."""

from __future__ import annotations

import streamlit as st

from search_app.api.schemas import DocumentResponse
from ui import cards
from ui.client import ApiError
from ui.session import client, original_button, show_error

LEAD = 700  # characters shown before the answer, so that it stands on the first screen
SHOWN = 8000


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
    _move(item, collection, start, end)
    st.html(cards.document(item, start, end))
    _move(item, collection, start, end)


def _move(item: DocumentResponse, collection: str, start: int, end: int) -> None:
    """Links to the other parts of a long document."""
    steps = []
    if item.start > 0:
        steps.append(("Earlier", max(0, item.start - SHOWN)))
    if end > start and not item.start <= start < item.end:
        steps.append(("Back to the answer", max(0, start - LEAD)))
    if item.end < item.length:
        steps.append(("Later", item.end))
    if steps:
        links = [cards.place_link(label, collection, item.id, start, end, first=first) for label, first in steps]
        st.html(f'<nav class="sa-move">{"".join(links)}</nav>')


def _number(text: str | None) -> int:
    """A position from the URL; 0 if it is not a number."""
    return min(int(text), 1 << 40) if text and text.isascii() and text.isdigit() else 0


main()
