"""Both retrievers in one component, and the fusion of what they find."""

from __future__ import annotations

from typing import Any

import numpy as np
from haystack import Document, component
from numpy.typing import NDArray

from search_app.fusion import fuse
from search_app.haystack.convert import to_document
from search_app.observability import stage
from search_app.protocols import PassageStore
from search_app.settings import RetrievalSettings
from search_app.types import Rankings


@component
class HybridRetriever:
    """Dense and BM25 hits from one call to the store, so from one generation of the index."""

    def __init__(self, store: PassageStore, settings: RetrievalSettings) -> None:
        self._store = store
        self._candidates = settings.candidates

    @component.output_types(rankings=Rankings)
    def run(
        self,
        query: str,
        query_embedding: list[float] | NDArray[np.float32],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
    ) -> dict[str, Rankings]:
        vectors = np.asarray([query_embedding], dtype=np.float32)
        with stage("retrieve"):
            (found,) = self._store.search_both([query], vectors, k=max(top_k, self._candidates), where=filters)
        return {"rankings": found}


@component
class RankFusion:
    """The best `top_k` of both rankings as documents."""

    def __init__(self, settings: RetrievalSettings) -> None:
        self._settings = settings

    @component.output_types(documents=list[Document])
    def run(self, rankings: Rankings, top_k: int = 10) -> dict[str, list[Document]]:
        with stage("fuse"):
            hits = fuse(rankings.dense, rankings.keyword, self._settings, k=top_k)
            return {"documents": [to_document(hit) for hit in hits]}
