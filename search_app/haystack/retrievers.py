"""Retrievers over a `SearchAppDocumentStore`: by embedding, by BM25, and by both, fused."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy, apply_filter_policy
from numpy.typing import NDArray

from search_app.haystack.document_store import SearchAppDocumentStore
from search_app.settings import RetrievalSettings

Documents = dict[str, list[Document]]
Embedding = list[float] | NDArray[np.float32]


class _Retriever:
    """The parameters that all retrievers share, and how those of a run override them.

    They call its `__init__` by name: `@component` makes another class of theirs, which `super()` does not know.
    """

    def __init__(
        self,
        document_store: SearchAppDocumentStore,
        filters: dict[str, Any] | None,
        top_k: int,
        return_embedding: bool,
        filter_policy: str | FilterPolicy,
        **more: Any,
    ) -> None:
        if not isinstance(document_store, SearchAppDocumentStore):
            raise ValueError("document_store must be a SearchAppDocumentStore")
        if top_k <= 0:
            raise ValueError(f"top_k is {top_k}, it must be above 0")
        self._store = document_store
        self._filters = filters
        self.top_k = top_k
        self._return_embedding = return_embedding
        self._policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy
        self._more = more

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            document_store=self._store,
            filters=self._filters,
            top_k=self.top_k,
            return_embedding=self._return_embedding,
            filter_policy=self._policy.value,
            **self._more,
        )

    def _how(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self._policy, self._filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "return_embedding": self._return_embedding,
        }


@component
class SearchAppEmbeddingRetriever(_Retriever):
    """The nearest documents by cosine."""

    def __init__(
        self,
        document_store: SearchAppDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        _Retriever.__init__(self, document_store, filters, top_k, return_embedding, filter_policy)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppEmbeddingRetriever:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query_embedding: Embedding, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> Documents:
        return {"documents": self._store.embedding_retrieval(query_embedding, **self._how(filters, top_k))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query_embedding: Embedding, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> Documents:
        return await asyncio.to_thread(self.run, query_embedding, filters, top_k)


@component
class SearchAppBM25Retriever(_Retriever):
    """BM25 over the words of the query, analysed in each document's language."""

    def __init__(
        self,
        document_store: SearchAppDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        _Retriever.__init__(self, document_store, filters, top_k, return_embedding, filter_policy)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppBM25Retriever:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> Documents:
        return {"documents": self._store.bm25_retrieval(query, **self._how(filters, top_k))}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> Documents:
        return await asyncio.to_thread(self.run, query, filters, top_k)


@component
class SearchAppHybridRetriever(_Retriever):
    """Both rankings from one generation of the index, fused. Parameters default to the store's settings."""

    def __init__(
        self,
        document_store: SearchAppDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        method: Literal["weighted", "rrf"] | None = None,
        dense_weight: float | None = None,
        candidates: int | None = None,
    ) -> None:
        more = {"method": method, "dense_weight": dense_weight, "candidates": candidates}
        _Retriever.__init__(self, document_store, filters, top_k, return_embedding, filter_policy, **more)
        stated = {name: value for name, value in more.items() if value is not None}
        self._retrieval = RetrievalSettings(**{**document_store.retrieval.model_dump(), **stated})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppHybridRetriever:
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        query_embedding: Embedding,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> Documents:
        how = self._how(filters, top_k)
        return {"documents": self._store.hybrid_retrieval(query, query_embedding, retrieval=self._retrieval, **how)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        query_embedding: Embedding,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> Documents:
        return await asyncio.to_thread(self.run, query, query_embedding, filters, top_k)
