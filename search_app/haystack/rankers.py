"""A ranker as a Haystack component."""

from __future__ import annotations

from haystack import Document, component

from search_app.haystack.convert import to_document, to_hit
from search_app.observability import stage
from search_app.protocols import Ranker


@component
class PassageRanker:
    """Re-orders the first `top` documents; the others follow behind, in their order."""

    def __init__(self, ranker: Ranker, *, top: int) -> None:
        self._ranker = ranker
        self._top = top

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        with stage("rank"):
            (ranked,) = self._ranker.rank([query], [[to_hit(document) for document in documents[: self._top]]])
        return {"documents": [*map(to_document, ranked), *documents[self._top :]]}
