"""Which pages of a document are shown as pictures."""

from __future__ import annotations

from search_app.api.schemas import DocumentResponse
from ui.highlight import escape


def on_a_scan(item: DocumentResponse, start: int, end: int) -> bool:
    """Whether the characters [start, end) are on a page that is a picture."""
    return any(box.start < end and box.end > start for page in item.pages for box in page.boxes)


def page_at(item: DocumentResponse, position: int) -> int:
    """The number of the page with the character at `position`, the last page beyond the text."""
    return next((page.number for page in item.pages if page.end > position), item.pages[-1].number)


def chosen(item: DocumentResponse, number: int, most: int) -> range:
    """The numbers of up to `most` pages from page `number` on, which may be too large."""
    last = item.pages[-1].number
    first = min(max(1, number), last)
    return range(first, min(last, first + most - 1) + 1)


def missing(reason: str) -> str:
    """A notice in place of pictures."""
    return f'<div class="sa-notice" role="status"><strong>No picture:</strong> {escape(reason)}</div>'
