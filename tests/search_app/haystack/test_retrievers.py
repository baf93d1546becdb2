"""Our retrievers and embedders beside Haystack's own components: in one pipeline, through YAML and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder
from haystack import Document, Pipeline
from haystack.components.caching import CacheChecker
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentSplitter, HierarchicalDocumentSplitter
from haystack.components.retrievers import AutoMergingRetriever, SentenceWindowRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy

from search_app import open_service
from search_app.errors import IndexMismatch
from search_app.haystack.document_store import SearchAppDocumentStore
from search_app.haystack.documents import to_hit
from search_app.haystack.embedders import SearchAppDocumentEmbedder, SearchAppTextEmbedder
from search_app.haystack.retrievers import (
    SearchAppBM25Retriever,
    SearchAppEmbeddingRetriever,
    SearchAppHybridRetriever,
)

ENCODER = HashEncoder(dim=64)
TEXTS = {
    "leave": "Employees have 27 days of annual leave.",
    "parents": "Parental leave lasts up to fourteen months.",
    "trains": "Trains are booked in second class.",
}
OURS = ["search_app.*"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SearchAppDocumentStore]:
    with closing(SearchAppDocumentStore("c", home=str(tmp_path), embedding_dim=64)) as store:
        vectors = ENCODER.encode_passages(list(TEXTS.values()))
        store.write_documents(
            [
                Document(id=id, content=text, meta={"about": id, "n": n}, embedding=vector.tolist())
                for n, ((id, text), vector) in enumerate(zip(TEXTS.items(), vectors, strict=True))
            ]
        )
        yield store


def query(text: str) -> list[float]:
    vector: list[float] = ENCODER.encode_queries([text])[0].tolist()
    return vector


def retrievers(store: SearchAppDocumentStore, **more: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Each with the inputs of a question about leave."""
    text, vector = {"query": "annual leave"}, {"query_embedding": query("annual leave")}
    return [
        (SearchAppEmbeddingRetriever(store, **more), vector),
        (SearchAppBM25Retriever(store, **more), text),
        (SearchAppHybridRetriever(store, **more), {**text, **vector}),
    ]


def test_the_best_document_has_the_highest_score(store: SearchAppDocumentStore) -> None:
    for retriever, inputs in retrievers(store):
        found = retriever.run(**inputs)["documents"]
        assert found[0].id == "leave"
        assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
        assert found[0].embedding is None
        assert asyncio.run(retriever.run_async(**inputs))["documents"] == found


def test_a_run_overrides_the_number_of_documents(store: SearchAppDocumentStore) -> None:
    for retriever, inputs in retrievers(store, top_k=1):
        assert len(retriever.run(**inputs)["documents"]) == 1
        assert len(retriever.run(**inputs, top_k=2)["documents"]) == 2
        assert retriever.run(**inputs, top_k=0)["documents"] == []


def test_filters_of_a_run_replace_those_of_the_retriever_or_narrow_them(store: SearchAppDocumentStore) -> None:
    few = {"field": "meta.about", "operator": "!=", "value": "leave"}
    fewer = {"field": "meta.n", "operator": "<", "value": 2}
    for policy, expected in ((FilterPolicy.REPLACE, {"leave", "parents"}), (FilterPolicy.MERGE, {"parents"})):
        for retriever, inputs in retrievers(store, filters=few, filter_policy=policy):
            assert "leave" not in {item.id for item in retriever.run(**inputs)["documents"]}
            assert {item.id for item in retriever.run(**inputs, filters=fewer)["documents"]} == expected


def test_embeddings_are_returned_on_request(store: SearchAppDocumentStore) -> None:
    written = {document.id: document for document in store.filter_documents()}
    for retriever, inputs in retrievers(store, return_embedding=True):
        for found in retriever.run(**inputs)["documents"]:
            assert replace(found, score=None) == written[found.id]


def test_a_retriever_goes_through_yaml(store: SearchAppDocumentStore) -> None:
    wanted = {"field": "meta.n", "operator": ">", "value": 0}
    for retriever, inputs in retrievers(store, filters=wanted, top_k=7, filter_policy="merge", return_embedding=True):
        again = through_yaml(retriever)
        assert again.to_dict() == retriever.to_dict()
        assert again.run(**inputs) == retriever.run(**inputs)
    weighted = SearchAppHybridRetriever(store, method="weighted", dense_weight=1.0, candidates=5)
    assert through_yaml(weighted).to_dict() == weighted.to_dict()


def through_yaml(part: Any) -> Any:
    pipeline = Pipeline()
    pipeline.add_component("part", part)
    return Pipeline.loads(pipeline.dumps(), allowed_modules=OURS).get_component("part")


def test_parameters_control_the_fusion(store: SearchAppDocumentStore) -> None:
    inputs = {"query": "trains", "query_embedding": query("annual leave")}
    by_words = SearchAppHybridRetriever(store, method="weighted", dense_weight=0.0)
    by_vectors = SearchAppHybridRetriever(store, method="weighted", dense_weight=1.0)
    assert by_words.run(**inputs)["documents"][0].id == "trains"
    assert by_vectors.run(**inputs)["documents"][0].id == "leave"


def test_a_foreign_store_or_a_top_k_of_zero_is_refused(store: SearchAppDocumentStore) -> None:
    with pytest.raises(ValueError, match="must be a SearchAppDocumentStore"):
        SearchAppBM25Retriever(InMemoryDocumentStore())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is 0"):
        SearchAppBM25Retriever(store, top_k=0)


def test_haystacks_window_and_merging_retrievers_work_on_our_store(tmp_path: Path) -> None:
    text = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
    with closing(SearchAppDocumentStore("c", home=str(tmp_path), embedding_dim=64)) as store:
        splitter = HierarchicalDocumentSplitter(block_sizes={12, 3}, split_overlap=0, split_by="word")
        pieces = splitter.run([Document(content=text)])["documents"]
        store.write_documents(pieces)
        leaves = [piece for piece in pieces if not piece.meta["__children_ids"]]
        (merged,) = AutoMergingRetriever(store, threshold=0.5).run(leaves)["documents"]
        assert merged.content == text
    with closing(SearchAppDocumentStore("d", home=str(tmp_path), embedding_dim=64)) as store:
        parts = DocumentSplitter(split_by="period", split_length=1).run([Document(content=text)])["documents"]
        store.write_documents(parts)
        found = SentenceWindowRetriever(store, window_size=1).run(parts[1:2])
        assert found["context_windows"] == ["One two three. Four five six. Seven eight nine."]
        hits = CacheChecker(store, cache_field="meta.split_id").run([0, 9])
        assert hits == {"hits": parts[:1], "misses": [9]}


def indexing(store: SearchAppDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
    pipeline.add_component("embedder", SearchAppDocumentEmbedder())
    pipeline.add_component("writer", DocumentWriter(store, policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder", "writer")
    return pipeline


def asking(store: SearchAppDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", SearchAppTextEmbedder())
    pipeline.add_component("dense", SearchAppEmbeddingRetriever(store, top_k=5))
    pipeline.add_component("words", SearchAppBM25Retriever(store, top_k=5))
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=2))
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    pipeline.connect("dense", "joiner")
    pipeline.connect("words", "joiner")
    return pipeline


def test_pipelines_from_yaml_index_and_answer(tmp_path: Path) -> None:
    store = SearchAppDocumentStore("c", home=str(tmp_path), encoder="bundled")
    writing = Pipeline.loads(indexing(store).dumps(), allowed_modules=OURS)
    written = writing.run({"splitter": {"documents": [Document(content=" ".join(TEXTS.values()))]}})
    assert written["writer"]["documents_written"] == 3

    pipeline = Pipeline.loads(asking(store).dumps(), allowed_modules=OURS)
    assert pipeline.to_dict()["components"] == asking(store).to_dict()["components"]
    question = "How long may a mother stay at home?"
    inputs = {"embedder": {"text": question}, "words": {"query": question}}
    found = pipeline.run(inputs)["joiner"]["documents"]
    assert "Parental" in found[0].content
    assert asyncio.run(pipeline.run_async(inputs))["joiner"]["documents"] == found

    with open_service(home=str(tmp_path)) as service:
        result = service.answer("How many days of annual leave are there?", collection="c")
        assert "27" in result.answers[0].text
        assert result.answers[0].hit is not None
        assert result.answers[0].hit.passage.text == TEXTS["leave"]
        with closing(SearchAppDocumentStore("other", home=str(tmp_path), embedding_dim=384)) as other:
            other.write_documents([Document(content="of another encoder", embedding=[1.0] * 384)])
        with pytest.raises(IndexMismatch, match="built with haystack"):
            service.search("anything", collection="other")
    store.close()


def test_a_document_without_a_score_is_read_as_a_good_hit() -> None:
    assert to_hit(Document(content="The treaty was signed in Vienna.")).score == 1.0
