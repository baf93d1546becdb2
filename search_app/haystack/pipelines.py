"""The product's own query pipeline, built from the public components: the same answers as `SearchService`."""

from __future__ import annotations

from typing import Any

from haystack import Pipeline
from haystack.utils import Secret
from pydantic import BaseModel

from search_app.haystack.document_store import SearchAppDocumentStore
from search_app.haystack.embedders import SearchAppTextEmbedder
from search_app.haystack.rankers import SearchAppRanker
from search_app.haystack.readers import SearchAppReader
from search_app.haystack.retrievers import SearchAppHybridRetriever
from search_app.settings import Settings, load_settings

_STORE_SECTIONS = {"vectors", "keyword", "analysis"}


def search_pipeline(settings: Settings | None = None, *, collection: str = "default") -> Pipeline:
    """Question to documents. Inputs: `embedder.text`, `retriever.query` and, with a ranker, `ranker.query`."""
    settings = settings or load_settings()
    retrieval = settings.retrieval
    pipeline = Pipeline()
    pipeline.add_component("embedder", SearchAppTextEmbedder(settings.encoder.model, stated_settings(settings.encoder)))
    pipeline.add_component(
        "retriever",
        SearchAppHybridRetriever(
            document_store(settings, collection),
            top_k=settings.reader.passages,
            method=retrieval.method,
            dense_weight=retrieval.dense_weight,
            candidates=retrieval.candidates,
        ),
    )
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    if settings.ranker.model:
        pipeline.add_component(
            "ranker", SearchAppRanker(settings.ranker.model, settings=stated_settings(settings.ranker))
        )
        pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def answer_pipeline(settings: Settings | None = None, *, collection: str = "default") -> Pipeline:
    """A search pipeline with the reader behind it. One more input: `reader.query`."""
    settings = settings or load_settings()
    pipeline = search_pipeline(settings, collection=collection)
    pipeline.add_component("reader", SearchAppReader(settings.reader.model, settings=stated_settings(settings.reader)))
    pipeline.connect(f"{'ranker' if settings.ranker.model else 'retriever'}.documents", "reader.documents")
    return pipeline


def document_store(settings: Settings, collection: str = "default") -> SearchAppDocumentStore:
    """The collection under these settings. Secrets are named by their environment variables, never written out."""
    stated: dict[str, Any] = settings.model_dump(
        mode="json", exclude_defaults=True, include={"store", "elasticsearch", "retrieval", *_STORE_SECTIONS}
    )
    server = stated.get("elasticsearch", {})
    return SearchAppDocumentStore(
        collection,
        home=str(settings.home),
        encoder=settings.encoder.model,
        settings=stated,
        api_key=_secret(server, "api_key"),
        password=_secret(server, "password"),
    )


def _secret(server: dict[str, Any], name: str) -> Secret | None:
    return Secret.from_env_var(f"SEARCH_APP_ELASTICSEARCH__{name.upper()}") if server.pop(name, None) else None


def stated_settings(section: BaseModel) -> dict[str, Any]:
    """A section's settings other than the defaults, without the model, as YAML holds them."""
    stated: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=True, exclude={"model", "others"})
    return stated
