"""How a document is read, as HTML: its headings, and its passages as encoder and reader get them."""

from __future__ import annotations

from collections.abc import Sequence

from search_app.api.schemas import DocumentResponse, HeadingOut, PassageOut
from ui import cards
from ui.flow import Part, flow
from ui.highlight import Range, escape
from ui.job_cards import counted, folded

MOST_HEADINGS = 500


def overview(item: DocumentResponse, collection: str, *, view: str) -> str:
    """Counts of the whole document, and its headings with links to the passages there, in the tab `view`."""
    numbers = {"page": len(item.pages), "heading": len(item.headings)}
    counts = ", ".join(counted(number, name) for name, number in numbers.items() if number)
    intro = (
        "A search finds these passages, and answers come from them. “Read as” is what encoder and reader get in place"
        " of a passage."
    )
    links = "".join(_heading(heading, item.id, collection, view) for heading in item.headings[:MOST_HEADINGS])
    if len(item.headings) > MOST_HEADINGS:
        links += f'<div class="sa-more">… and {len(item.headings) - MOST_HEADINGS:,} more</div>'
    return f'<div class="sa-hint">{intro}</div>{folded(counts, links) if links else _line(counts)}'


def passages(items: Sequence[PassageOut], mark: Range) -> str:
    """The passages, with the range `mark` of the document marked in them."""
    shown = "".join(_passage(item, mark) for item in items) or '<div class="sa-more">There is no passage here.</div>'
    return f'<div class="sa-reading">{shown}</div>'


def _passage(item: PassageOut, mark: Range) -> str:
    page = f"<span>page {item.page}</span>" if item.page is not None else ""
    text = flow(Part(item.text, item.start, (mark,)), item.tables, cards.prose)
    return (
        '<article class="sa-piece">'
        f'<div class="sa-place"><span class="sa-title" dir="auto">{escape(item.title)}</span>{page}'
        f"<span>characters {item.start:,}–{item.end:,}</span></div>{text}{_reading(item)}</article>"
    )


def _reading(item: PassageOut) -> str:
    if item.reading == item.text:
        return ""
    return f'<div class="sa-read-as" dir="auto"><b>Read as</b> {escape(item.reading)}</div>'


def _heading(item: HeadingOut, document_id: str, collection: str, view: str) -> str:
    link = cards.place_link(item.title, collection, document_id, first=item.start, view=view)
    return f'<div style="padding-inline-start:{max(0, item.level - 1)}rem" dir="auto">{link}</div>'


def _line(text: str) -> str:
    return f'<div class="sa-job-line">{escape(text)}</div>' if text else ""
