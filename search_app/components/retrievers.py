"""Both retrievers in one component, and the fusion of what they find."""

from __future__ import annotations

from typing import Any

import numpy as np
from haystack import Document, component

from search_app.components.convert import to_document, to_hit
from search_app.fusion import fuse
from search_app.observability import stage
from search_app.protocols import PassageStore
from search_app.settings import RetrievalSettings


@component
class HybridRetriever:
    """Dense and BM25 hits from one call to the store, so from one generation of the index."""

    def __init__(self, store: PassageStore, settings: RetrievalSettings) -> None:
        self._store = store
        self._candidates = settings.candidates

    @component.output_types(dense=list[Document], keyword=list[Document], generation=int)
    def run(
        self, query: str, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int = 10
    ) -> dict[str, Any]:
        vectors = np.asarray([query_embedding], dtype=np.float32)
        with stage("retrieve"):
            (found,) = self._store.search_both([query], vectors, k=max(top_k, self._candidates), where=filters)
        return {
            "dense": [to_document(hit) for hit in found.dense],
            "keyword": [to_document(hit) for hit in found.keyword],
            "generation": found.generation,
        }


@component
class RankFusion:
    """The best `top_k` of both rankings."""

    def __init__(self, settings: RetrievalSettings) -> None:
        self._settings = settings

    @component.output_types(documents=list[Document])
    def run(self, dense: list[Document], keyword: list[Document], top_k: int = 10) -> dict[str, list[Document]]:
        with stage("fuse"):
            hits = fuse(list(map(to_hit, dense)), list(map(to_hit, keyword)), self._settings, k=top_k)
        return {"documents": [to_document(hit) for hit in hits]}
