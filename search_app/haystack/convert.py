"""Between our hits and answers and Haystack's documents and extracted answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from haystack import Document, ExtractedAnswer

from search_app.types import RESERVED_META, Answer, Hit, Passage


# Both subclasses call Haystack's own __init__: it warns of every attribute that is set outside of it.
@dataclass(init=False, repr=False, eq=False)
class HitDocument(Document):
    """A Haystack document that remembers its hit, so nothing is rebuilt between our own components."""

    hit: Hit | None = None

    def __init__(self, *, hit: Hit | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self.hit = hit

    def __deepcopy__(self, memo: dict[int, Any]) -> HitDocument:
        # Pipeline.run deep-copies every input; a hit is frozen, so sharing it is safe and saves milliseconds.
        return self


def to_document(hit: Hit) -> HitDocument:
    """The passage as content; its place and source in `meta`, beside the document's own metadata."""
    passage = hit.passage
    place = {
        "document_id": passage.document_id,
        "title": passage.title,
        "start": passage.start,
        "end": passage.end,
        "page": passage.page,
        "source": passage.source,
    }
    meta = {**passage.meta, **place, "scores": dict(hit.scores)}
    meta.pop(RESERVED_META, None)
    return HitDocument(id=passage.id, content=passage.text, meta=meta, score=hit.score, hit=hit)


def to_hit(document: Document) -> Hit:
    """Also for a document that a stock component made or re-scored."""
    score = document.score or 0.0
    if isinstance(document, HitDocument) and document.hit is not None:
        hit = document.hit
        return hit if hit.score == score else Hit(hit.passage, score, hit.scores)
    meta = dict(document.meta)
    text = document.content or ""
    start = int(meta.get("start", 0))
    passage = Passage(
        document.id,
        str(meta.get("document_id", document.id)),
        str(meta.get("title", "")),
        text,
        start,
        start + len(text),
        meta.get("page"),
        str(meta.get("source", "")),
        {key: value for key, value in meta.items() if isinstance(value, str | int | float | bool | list)},
    )
    return Hit(passage, score, meta.get("scores") or {})


@dataclass(init=False, repr=False, eq=False)
class MarkedAnswer(ExtractedAnswer):
    """A Haystack answer that remembers ours."""

    answer: Answer | None = None

    def __init__(self, *, answer: Answer | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self.answer = answer

    def __deepcopy__(self, memo: dict[int, Any]) -> MarkedAnswer:
        return self


def to_extracted(question: str, answer: Answer) -> MarkedAnswer:
    """`score` is the confidence where there is one; offsets count in the document and in the passage."""
    hit, span = answer.hit, answer.span
    document = to_document(hit) if hit else None
    context_offset = document_offset = None
    if hit and span:
        document_offset = ExtractedAnswer.Span(span.start, span.end)
        shift = hit.passage.start
        context_offset = ExtractedAnswer.Span(span.start - shift, span.end - shift)
    return MarkedAnswer(
        query=question,
        score=answer.score if answer.confidence is None else answer.confidence,
        data=answer.text or None,
        document=document,
        context=hit.passage.text if hit else None,
        document_offset=document_offset,
        context_offset=context_offset,
        meta={"confidence": answer.confidence},
        answer=answer,
    )
