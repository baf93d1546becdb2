"""The reader as a Haystack component."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from haystack import Document, ExtractedAnswer, component

from search_app.haystack.convert import to_extracted, to_hit
from search_app.observability import stage
from search_app.types import Answer, Hit

Read = Callable[[str, Sequence[Hit], int], list[Answer]]


@component
class AnswerReader:
    """`read` marks answers to one question; it may batch calls from several threads beneath."""

    def __init__(self, read: Read, *, passages: int) -> None:
        self._read = read
        self._passages = passages

    @component.output_types(answers=list[ExtractedAnswer])
    def run(self, query: str, documents: list[Document], top_k: int = 3) -> dict[str, list[ExtractedAnswer]]:
        with stage("read"):
            answers = self._read(query, [to_hit(document) for document in documents[: self._passages]], top_k)
        return {"answers": [to_extracted(query, answer) for answer in answers]}
