"""Haystack components over search-app: document store, retrievers, embedders, ranker, reader, and whole pipelines."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "SearchAppDocumentStore": "document_store",
    "SearchAppEmbeddingRetriever": "retrievers",
    "SearchAppBM25Retriever": "retrievers",
    "SearchAppHybridRetriever": "retrievers",
    "SearchAppTextEmbedder": "embedders",
    "SearchAppDocumentEmbedder": "embedders",
    "SearchAppRanker": "rankers",
    "SearchAppReader": "readers",
    "SearchAppConverter": "indexing",
    "SearchAppSplitter": "indexing",
    "answer_pipeline": "pipelines",
    "search_pipeline": "pipelines",
    "indexing_pipeline": "indexing",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Each name loads its own module, so that one component does not load the models of all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
