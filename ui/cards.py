"""Answers, hits and documents as HTML. All text from documents or the API goes through `highlight.escape`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlencode

from search_app.api.schemas import (
    AnswerOut,
    DocumentResponse,
    DocumentSummary,
    HitOut,
    PlaceOut,
    SearchResponse,
    TableOut,
)
from search_app.text.shown import shown
from search_app.types import MetaValue
from ui.flow import Part, flow, in_sight
from ui.highlight import Range, escape, excerpt, marked, unwrapped

ANSWER_MARGIN = 600
HIT_CHARACTERS = 420
TABLE_MARGIN = 300
RETRIEVERS = {"dense": "dense", "keyword": "BM25", "bm25": "BM25"}
STAGES_SHOWN_FROM = 0.0005  # seconds
DEGRADED = (
    '<div class="sa-notice" role="status"><strong>The index or its GPU cannot be reached.</strong>'
    " These answers come from a replica, which may be older, or from the CPU.</div>"
)


def answer(item: AnswerOut, *, dated: bool = False) -> str:
    """An answer with a span, marked by its offsets, and if `dated` with the date of its document."""
    part = Part(item.passage or "", item.passage_start or 0, ((item.start or 0, item.end or 0),))
    text = escape(shown(item.text, item.passage or ""))
    return (
        '<article class="sa-card" dir="auto">'
        f'<div class="sa-head"><div class="sa-answer">{text}</div>{_confidence(item)}</div>'
        f"{_passage(part, item.tables, margin=ANSWER_MARGIN)}"
        f"{_place(item.title, item.source, item.page, item.date if dated else None, score=item.score)}"
        f"{_also_in(item.also_in)}"
        "</article>"
    )


def hit(rank: int, item: HitOut) -> str:
    """A passage with its rank and scores."""
    badges = "".join(
        f'<span class="sa-badge sa-{escape(RETRIEVERS.get(name, name))}" title="{escape(_badge_title(name))}">'
        f"{escape(RETRIEVERS.get(name, name))} {score:.3g}</span>"
        for name, score in item.scores.items()
    )
    marks = tuple((item.start + mark.start, item.start + mark.end) for mark in item.marks)
    return (
        '<article class="sa-card sa-hit" dir="auto">'
        f'<div class="sa-rank">{rank}</div><div class="sa-body">'
        f"{_passage(in_sight(Part(item.text, item.start, marks), item.tables), item.tables, margin=HIT_CHARACTERS)}"
        f"{_place(item.title, item.source, item.page, score=item.score)}"
        f"{_newer(item)}{_also_in(item.also_in)}"
        f'<div class="sa-badges">{badges}</div>'
        "</div></article>"
    )


def no_answer(first: AnswerOut | None) -> str:
    """A notice that there is no reliable answer; `first` is the likeliest of all, "no answer here" included."""
    if first is not None and first.start is not None:
        found = "No reliable answer found in these documents."
    else:
        certainty = f" ({first.confidence:.0%} sure)" if first is not None and first.confidence is not None else ""
        found = f"Probably no answer in these documents{certainty}."
    return f'<div class="sa-notice" role="status"><strong>{found}</strong> The closest passages are below.</div>'


def nothing_found(filtered: bool) -> str:
    """A notice that no passage was found."""
    advice = "The filter may leave nothing to search." if filtered else "Try other words."
    return f'<div class="sa-notice" role="status"><strong>Nothing found.</strong> {advice}</div>'


def problem(message: str) -> str:
    """An error message."""
    return f'<div class="sa-notice sa-problem" role="alert">{escape(message[:1].upper() + message[1:])}</div>'


def timings(response: SearchResponse) -> str:
    """The total time and its stages, in seconds or milliseconds."""
    stages = dict(response.timings)
    total = stages.pop("total", None) or sum(stages.values())
    parts = [f"{escape(name)} {_duration(seconds)}" for name, seconds in stages.items() if seconds > STAGES_SHOWN_FROM]
    parts.append(f"index generation {response.generation}")
    return f'<div class="sa-timings"><strong>{_duration(total)}</strong> · {" · ".join(parts)}</div>'


def summary(item: DocumentSummary) -> str:
    """A document in a list."""
    return (
        '<article class="sa-card sa-document">'
        f'<div class="sa-title" dir="auto">{escape(item.title or name_of(item.source))}</div>'
        f'<div class="sa-place"><span class="sa-source" dir="auto">{escape(item.source)}</span></div>'
        f"{_meta(item.meta, item.language)}"
        "</article>"
    )


def document(item: DocumentResponse, start: int, end: int) -> str:
    """The part of a document in `item`, page by page, with [start, end) of the document marked."""
    pieces = []
    for number, first, last in _pages(item):
        heading = "" if number is None else f'<div class="sa-page">Page {number}</div>'
        part = Part(item.text[first - item.start : last - item.start], first, ((start, end),))
        pieces.append(heading + flow(part, item.tables, prose))
    before = '<div class="sa-more">…</div>' if item.start > 0 else ""
    after = '<div class="sa-more">…</div>' if item.end < item.length else ""
    return f'<div class="sa-reading">{before}{"".join(pieces)}{after}</div>'


def document_head(item: DocumentResponse) -> str:
    """Title and facts of a document."""
    return (
        f'<h1 class="sa-document-title" dir="auto">{escape(item.title or name_of(item.source))}</h1>'
        f'<div class="sa-place"><span class="sa-source" dir="auto">{escape(item.source)}</span>'
        f"<span>{item.length:,} characters</span></div>"
        f"{_meta(item.meta, item.language)}"
    )


def place_link(
    label: str,
    collection: str,
    document_id: str,
    start: int | None = None,
    end: int | None = None,
    *,
    first: int | None = None,
    page: int | None = None,
    view: str | None = None,
) -> str:
    """A plain link: Streamlit's page links break the browser's back button."""
    place = {"start": start, "end": end, "first": first, "page": page, "view": view}
    given = {name: value for name, value in place.items() if value is not None}
    query = urlencode({"id": f"{collection}/{document_id}", **given})
    return f'<a class="sa-link" href="{escape(f"document?{query}")}" target="_self">{escape(label)}</a>'


def name_of(source: str) -> str:
    """The last part of a path or URL."""
    return PurePosixPath(source.replace("\\", "/")).name or source


def _pages(item: DocumentResponse) -> Iterable[tuple[int | None, int, int]]:
    """(number, start, end) of the pages in `item`. A gap between pages belongs to the page before it."""
    inside = [page for page in item.pages if page.end > item.start and page.start < item.end]
    if not inside:
        yield None, item.start, item.end
        return
    starts = [max(item.start, inside[0].start), *(page.start for page in inside[1:])]
    starts[0] = item.start
    for page, first, last in zip(inside, starts, [*starts[1:], item.end], strict=True):
        yield page.number, first, last


def _passage(part: Part, tables: Sequence[TableOut], *, margin: int) -> str:
    """A passage up to `margin` characters around its mark; of tables, whole rows near it."""

    def paragraph(text: str, ranges: Sequence[Range]) -> str:
        start, end = next((item for item in ranges if item[1] > 0 and item[0] < len(text)), (ranges or [(0, 0)])[0])
        shown, first, _ = excerpt(text, start, end, margin=margin)
        moved = first - min(max(start, 0), len(text))
        marks = [(start + moved, end + moved) for start, end in ranges]
        return f'<p class="sa-passage" dir="auto">{_compact(marked(unwrapped(shown), *marks))}</p>'

    start, end = part.marks[0] if part.marks else (part.offset, part.offset)
    return flow(part, tables, paragraph, near=(start - TABLE_MARGIN, end + TABLE_MARGIN) if tables else None)


def prose(text: str, ranges: Sequence[Range]) -> str:
    """Paragraphs as they are in the document."""
    return f'<div class="sa-text" dir="auto">{marked(text, *ranges)}</div>'


def _newer(item: HitOut) -> str:
    """The file of the newest version of the passage."""
    if item.newer is None:
        return ""
    source = item.newer.source
    name = f'<span dir="auto" title="{escape(source)}">{escape(name_of(source))}</span>'
    return f'<div class="sa-also">newer version: {name}</div>'


def _also_in(others: Iterable[PlaceOut]) -> str:
    """Other places of the same text or answer; a second place in one file is not named again."""
    places = dict.fromkeys(other.source for other in others)
    names = ", ".join(
        f'<span dir="auto" title="{escape(source)}">{escape(name_of(source))}</span>' for source in places
    )
    return f'<div class="sa-also">also in {names}</div>' if names else ""


def _compact(markup: str) -> str:
    """Remove blank lines, which `escape` turned into references."""
    return re.sub(r"(?:&#10; *){2,}", "&#10;", markup)


def _place(title: str | None, source: str | None, page: int | None, date: str | None = None, *, score: float) -> str:
    parts = []
    if title:
        parts.append(f'<span class="sa-title" dir="auto">{escape(title)}</span>')
    if source:
        parts.append(f'<span class="sa-source" dir="auto">{escape(source)}</span>')
    if page is not None:
        parts.append(f"<span>page {page}</span>")
    if date:
        parts.append(f"<span>{escape(date[:10])}</span>")
    parts.append(f'<span class="sa-score">score {score:.3g}</span>')
    return f'<div class="sa-place">{"".join(parts)}</div>'


def _confidence(item: AnswerOut) -> str:
    if item.confidence is None:
        return ""
    percent = f"{item.confidence:.0%}"
    return (
        '<div class="sa-confidence" title="how likely this answer is right">'
        f'<span class="sa-bar"><span style="width:{100 * min(max(item.confidence, 0), 1):.0f}%"></span></span>'
        f'<span class="sa-percent">{percent}</span></div>'
    )


def _badge_title(name: str) -> str:
    return {"dense": "found by its meaning", "BM25": "found by its words"}.get(RETRIEVERS.get(name, name), name)


def _meta(meta: Mapping[str, MetaValue], language: str) -> str:
    shown = {name: value for name, value in meta.items() if name not in ("url", "title")}
    if language and "language" not in shown:
        shown["language"] = language
    chips = "".join(
        f'<span class="sa-chip"><b>{escape(name)}</b> <span dir="auto">{escape(_value(value))}</span></span>'
        for name, value in shown.items()
    )
    return f'<div class="sa-meta">{chips}</div>' if chips else ""


def _value(value: MetaValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
