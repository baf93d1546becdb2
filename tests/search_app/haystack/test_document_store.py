"""A collection as a Haystack document store: Haystack's own tests, and what they leave open, on both of our stores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HashEncoder
from haystack import Document
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests
from haystack.utils import Secret

from search_app import types
from search_app.api.schemas import HitOut
from search_app.errors import IndexMismatch
from search_app.haystack import documents
from search_app.haystack.document_store import SearchAppDocumentStore
from search_app.manifest import Manifest
from search_app.protocols import FileChange, FileRecord
from search_app.settings import Settings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.types import Passage, PassageBatch

ENCODER = HashEncoder(dim=64)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["embedded", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters that lead to an empty home or server."""
    if request.param == "embedded":
        return {"home": str(tmp_path)}
    address = request.getfixturevalue("elasticsearch")
    monkeypatch.setenv("ES_PASSWORD", address.password or "")
    server = {"urls": address.urls, "username": address.username, "ca": str(address.ca) if address.ca else None}
    prefix = request.getfixturevalue("elasticsearch_prefix")
    return {
        "settings": {"store": "elasticsearch", "elasticsearch": {**server, "prefix": prefix, "vectors": "flat"}},
        "password": Secret.from_env_var("ES_PASSWORD") if address.password else None,
    }


@pytest.fixture
def document_store(where: dict[str, Any]) -> Iterator[SearchAppDocumentStore]:
    with closing(SearchAppDocumentStore("c", embedding_dim=768, **where)) as store:
        yield store


class InAnyOrder:
    """Elasticsearch gives documents by their ids, and Haystack compares lists."""

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        assert sorted(received, key=lambda item: item.id) == sorted(expected, key=lambda item: item.id)


class TestHaystacksTests(
    InAnyOrder,
    sync_tests.DocumentStoreBaseExtendedTests,
    sync_tests.CountDocumentsByFilterTest,
    sync_tests.CountUniqueMetadataByFilterTest,
    sync_tests.GetMetadataFieldsInfoTest,
    sync_tests.GetMetadataFieldMinMaxTest,
    sync_tests.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, document_store: SearchAppDocumentStore) -> SearchAppDocumentStore:
        return document_store

    def test_write_documents(self, document_store: SearchAppDocumentStore) -> None:
        assert document_store.write_documents([Document(id="1", content="one")]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([Document(id="1", content="another")])
        assert document_store.filter_documents() == [Document(id="1", content="one")]


@pytest.mark.anyio
@pytest.mark.usefixtures("anyio_backend")
class TestHaystacksAsyncTests(
    InAnyOrder,
    async_tests.CountDocumentsAsyncTest,
    async_tests.WriteDocumentsAsyncTest,
    async_tests.DeleteDocumentsAsyncTest,
    async_tests.FilterDocumentsAsyncTest,
    async_tests.DeleteAllAsyncTest,
    async_tests.DeleteByFilterAsyncTest,
    async_tests.UpdateByFilterAsyncTest,
    async_tests.CountDocumentsByFilterAsyncTest,
    async_tests.CountUniqueMetadataByFilterAsyncTest,
    async_tests.GetMetadataFieldsInfoAsyncTest,
    async_tests.GetMetadataFieldMinMaxAsyncTest,
    async_tests.GetMetadataFieldUniqueValuesAsyncTest,
):
    async def test_write_documents_async(self, document_store: SearchAppDocumentStore) -> None:
        assert await document_store.write_documents_async([Document(id="1", content="one")]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([Document(id="1", content="another")])
        assert await document_store.filter_documents_async() == [Document(id="1", content="one")]


ANYTHING = {
    "nothing": None,
    "nested": {"name": "Ada", "born": {"year": 1815, "in": None}, "empty": {}},
    "list": [1, "two", None, {"three": [3.5]}, [True]],
    "dotted.name": "x",
    "numbers": [1, 2.5, True],
    "huge": 10**30,
    "tiny": -1.5e-300,
    "no letter": "\ud800",
    "": "unnamed",
    "haystack:rest": "mine",
    "title": "Notes",
}


@pytest.mark.parametrize(
    "document",
    [
        Document(id="1", content="plain"),
        Document(id="1", content=None),
        Document(id="1", content=""),
        Document(id="1", content="half a pair \ud800 and a zero \0", meta={"a": 1}),
        Document(id="1", content="all", meta=ANYTHING, score=0.25),
        Document(id="1", blob=ByteStream(bytes(range(256)), meta={"x": [1]}, mime_type="image/png")),
        Document(id="1", content="sparse", sparse_embedding=SparseEmbedding([3, 7], [0.1, 1 / 3])),
        Document(id="1", content="doubles", embedding=[1 / 3, -2 / 3, 1e-9, 5.0]),
        Document(id="1", content="singles", embedding=[0.5, 1.5, -2.25, 0.0]),
        Document(id="1", content="unit", embedding=[0.5, 0.5, -0.5, 0.5]),
        Document(id="1", content="zeros", embedding=[0.0, 0.0, 0.0, 0.0]),
        Document(id="1", content="Lima | 3", meta={"edits": [[0, 0, "Place: "], [4, 7, "; Size: "]], "size": 3}),
        Document(id="1", content="my own field", meta={"edits": ["Ada", "Grace"]}),
        Document(id="ünï/ cödé:🚀", content="any id"),
    ],
    ids=lambda document: document.content or "none",
)
def test_a_document_is_returned_as_written(where: dict[str, Any], document: Document) -> None:
    with closing(SearchAppDocumentStore("c", embedding_dim=4, **where)) as store:
        assert store.write_documents([document]) == 1
        assert store.filter_documents() == [document]
    with closing(SearchAppDocumentStore("c", **where)) as store:
        assert store.filter_documents() == [document]


DOCUMENTS = [
    Document(id="river", content="The Danube is a river in Vienna.", meta={"place": {"name": "Vienna"}, "size": 3}),
    Document(id="lake", content="A lake lies above the town of Lima.", meta={"place": {"name": "Lima"}, "size": 1.5}),
    Document(id="engine", content="The engine of a train.", meta={"tags": ["steam", "rail"], "day": "2026-01-02"}),
    Document(id="blank", meta={"size": 3}),
]


def embedded(*documents: Document, scale: float = 1.0) -> list[Document]:
    """With vectors of 64 numbers; those that have content."""
    return [
        replace(item, embedding=(scale * ENCODER.encode_passages([item.content])[0]).tolist()) if item.content else item
        for item in documents
    ]


def query(text: str) -> list[float]:
    vector: list[float] = ENCODER.encode_queries([text])[0].tolist()
    return vector


@pytest.fixture
def filled(where: dict[str, Any]) -> Iterator[SearchAppDocumentStore]:
    with closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as store:
        store.write_documents(embedded(*DOCUMENTS))
        yield store


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"field": "meta.place.name", "operator": "==", "value": "Lima"}, {"lake"}),
    ({"field": "meta.place.name", "operator": "==", "value": None}, {"engine", "blank"}),
    ({"field": "meta.place.name", "operator": "in", "value": ["Lima", None]}, {"lake", "engine", "blank"}),
    ({"field": "meta.place.name", "operator": "not in", "value": ["Lima", None]}, {"river"}),
    ({"field": "meta.size", "operator": ">", "value": 1.5}, {"river", "blank"}),
    ({"field": "meta.tags", "operator": "==", "value": "rail"}, {"engine"}),
    ({"field": "meta.day", "operator": "<", "value": date(2026, 2, 1)}, {"engine"}),
    ({"field": "meta.nowhere", "operator": "==", "value": 1}, set()),
    ({"field": "meta.nowhere", "operator": "!=", "value": 1}, {"river", "lake", "engine", "blank"}),
    ({"field": "meta.nowhere", "operator": "==", "value": None}, {"river", "lake", "engine", "blank"}),
    ({"operator": "NOT", "conditions": [{"field": "size", "operator": "==", "value": 3}]}, {"lake", "engine"}),
    ({"field": "meta.tags", "operator": "==", "value": "none"}, set()),
    ({"operator": "AND", "conditions": []}, {"river", "lake", "engine", "blank"}),
]


def test_filters_match_by_type_and_operator(filled: SearchAppDocumentStore, subtests: pytest.Subtests) -> None:
    for filters, expected in FILTERS:
        with subtests.test(str(filters)):
            assert {document.id for document in filled.filter_documents(filters)} == expected
            assert filled.count_documents_by_filter(filters) == len(expected)
            found = filled.embedding_retrieval(query("a river"), filters=filters, top_k=10)
            assert {document.id for document in found} == expected - {"blank"}


def test_documents_are_listed_by_id(filled: SearchAppDocumentStore) -> None:
    by_id = {"field": "id", "operator": "==", "value": "lake"}
    several = {"field": "id", "operator": "in", "value": ["lake", "river", "nobody", None]}
    large = {"field": "meta.size", "operator": ">", "value": 2}
    assert [item.id for item in filled.filter_documents(by_id)] == ["lake"]
    assert filled.count_documents_by_filter(several) == 2
    assert filled.count_documents_by_filter({"operator": "AND", "conditions": [by_id, several]}) == 1
    assert filled.delete_by_filter({"operator": "AND", "conditions": [several, large]}) == 1
    assert {item.id for item in filled.filter_documents()} == {"lake", "engine", "blank"}
    assert filled.filter_documents({"field": "id", "operator": "in", "value": []}) == []
    with pytest.raises(FilterError, match="'id' is not metadata"):
        filled.filter_documents({"operator": "NOT", "conditions": [by_id]})
    with pytest.raises(FilterError, match="'id' is not metadata"):
        filled.bm25_retrieval("lake", filters=by_id)


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "content", "operator": "==", "value": "x"},
        {"field": "meta.", "operator": "==", "value": "x"},
        {"field": "meta.size", "operator": "~", "value": 1},
        {"field": "meta.size", "operator": "==", "value": {"a": 1}},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {}},
        {"operator": "AND", "conditions": ["size"]},
        ["size"],
    ],
)
def test_invalid_filters_are_refused(filled: SearchAppDocumentStore, filters: Any) -> None:
    with pytest.raises(FilterError):
        filled.filter_documents(filters)
    with pytest.raises(FilterError):
        filled.bm25_retrieval("river", filters=filters)


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_the_nearest_by_cosine_comes_first(where: dict[str, Any], scale: float) -> None:
    with closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as store:
        documents = embedded(*DOCUMENTS, scale=scale)
        store.write_documents(documents)
        found = store.embedding_retrieval([3 * number for number in query(DOCUMENTS[1].content or "")], top_k=2)
        assert found[0].id == "lake"
        assert found[0].score == pytest.approx(1, abs=1e-5)
        assert found[0].score > (found[1].score or 0)
        assert found[0].embedding is None
        (again,) = store.embedding_retrieval(query("lake"), top_k=1, return_embedding=True)
        assert again.embedding == documents[1].embedding
        assert store.embedding_retrieval(query("lake"), top_k=0) == []


def test_words_find_documents_without_an_embedding(where: dict[str, Any]) -> None:
    with closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as store:
        store.write_documents(DOCUMENTS)
        (found,) = store.bm25_retrieval("Which rivers are there?")
        assert replace(found, score=None) == DOCUMENTS[0]
        assert found.score
        assert store.embedding_retrieval(query("river")) == []
        assert [document.id for document in store.hybrid_retrieval("rivers", query("rivers"))] == ["river"]


def test_the_same_text_under_two_vectors_keeps_both(where: dict[str, Any]) -> None:
    with closing(SearchAppDocumentStore("c", embedding_dim=4, **where)) as store:
        one = Document(id="1", content="same", embedding=[1.0, 0.0, 0.0, 0.0])
        two = Document(id="2", content="same", embedding=[0.0, 1.0, 0.0, 0.0])
        store.write_documents([one, two])
        three = replace(one, embedding=[0.0, 0.0, 1.0, 0.0])
        store.write_documents([three], policy=DuplicatePolicy.OVERWRITE)
        assert sorted(store.filter_documents(), key=lambda item: item.id) == [three, two]
        assert [item.id for item in store.embedding_retrieval([0.0, 0.1, 1.0, 0.0])] == ["1", "2"]


def test_an_embedding_of_another_size_is_refused_and_nothing_is_written(filled: SearchAppDocumentStore) -> None:
    more = [Document(id="new", content="new"), Document(id="wrong", content="wrong", embedding=[1.0])]
    with pytest.raises(DocumentStoreError, match=r"'wrong' has an embedding of 1 numbers, this collection takes 64"):
        filled.write_documents(more)
    assert filled.count_documents() == len(DOCUMENTS)
    with pytest.raises(DocumentStoreError, match="the query's embedding has 1 numbers"):
        filled.embedding_retrieval([1.0])


def test_each_write_and_each_delete_is_one_generation(filled: SearchAppDocumentStore, where: dict[str, Any]) -> None:
    with closing(open_catalog(settings_of(where))) as catalog, closing(catalog.open("c")) as index:
        before = index.generation
        filled.write_documents(embedded(*DOCUMENTS), policy=DuplicatePolicy.OVERWRITE)
        assert index.generation == before + 1
        filled.delete_documents(["river", "lake", "nobody"])
        assert index.generation == before + 2
        assert filled.delete_by_filter({"field": "meta.size", "operator": "==", "value": 3}) == 1
        assert index.generation == before + 3
        assert filled.update_by_filter({"field": "meta.tags", "operator": "==", "value": "rail"}, {"tags": []}) == 1
        assert index.generation == before + 4
        assert filled.delete_by_filter({"field": "meta.size", "operator": "==", "value": 3}) == 0
        filled.delete_documents(["nobody"])
        assert index.generation == before + 4
        filled.delete_all_documents()
        assert index.generation == before + 5


def test_a_second_writer_is_refused_and_told_the_process_of_the_first(where: dict[str, Any]) -> None:
    with (
        closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as store,
        closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as other,
    ):
        store.write_documents(DOCUMENTS)
        settings = settings_of(where)
        with closing(open_catalog(settings)) as catalog, closing(catalog.open("c")) as index:
            manifest = index.manifest
        with closing(open_catalog(settings)) as catalog, catalog.writer("c", manifest):
            with pytest.raises(DocumentStoreError, match=str(os.getpid())):
                other.write_documents([Document(id="new", content="new")])
            with pytest.raises(DocumentStoreError, match=str(os.getpid())):
                other.delete_all_documents()
            assert other.count_documents() == len(DOCUMENTS)
        assert other.write_documents([Document(id="new", content="new")]) == 1
        assert store.count_documents() == len(DOCUMENTS) + 1


def test_threads_that_write_through_one_store_take_turns(where: dict[str, Any]) -> None:
    with closing(SearchAppDocumentStore("c", **where)) as store:
        with ThreadPoolExecutor(4) as pool:
            batches = [[Document(id=f"{batch}-{i}", content=f"text {i}") for i in range(5)] for batch in range(4)]
            assert sum(pool.map(store.write_documents, batches)) == 20
        assert store.count_documents() == 20


def test_a_thousand_documents_are_one_commit(tmp_path: Path) -> None:
    with closing(SearchAppDocumentStore("c", home=str(tmp_path), embedding_dim=64)) as store:
        documents = embedded(*(Document(id=str(i), content=f"text {i % 900}", meta={"n": i}) for i in range(1000)))
        assert store.write_documents(documents) == 1000
        assert store.filter_documents() == documents
        assert store.write_documents(documents, policy=DuplicatePolicy.SKIP) == 0
        assert store.write_documents(documents, policy=DuplicatePolicy.OVERWRITE) == 1000
        assert store.count_documents_by_filter({"field": "n", "operator": "<", "value": 10}) == 10
        with closing(open_catalog(settings_of({"home": str(tmp_path)}))) as catalog:
            assert catalog.verify("c") == []
            with closing(catalog.open("c")) as index:
                assert index.generation == 2
                assert index.counts()["vectors"] == 900


def test_unused_vectors_are_deleted_by_maintenance(tmp_path: Path) -> None:
    with closing(SearchAppDocumentStore("c", home=str(tmp_path), embedding_dim=64)) as store:
        for version in range(3):
            documents = embedded(*(Document(id=str(i), content=f"text {i} of {version}") for i in range(600)))
            store.write_documents(documents, policy=DuplicatePolicy.OVERWRITE)
        with (
            closing(open_catalog(settings_of({"home": str(tmp_path)}))) as catalog,
            closing(catalog.open("c")) as index,
        ):
            assert index.counts()["vectors"] <= 1200


def test_passages_of_files_can_be_read_but_not_changed_one_by_one(where: dict[str, Any]) -> None:
    indexed(where)
    with closing(SearchAppDocumentStore("c", **where)) as store:
        found = store.filter_documents({"field": "author", "operator": "==", "value": "Ada"})
        assert [document.content for document in found] == ["Engines ", "and looms."]
        assert found[1].meta["start"] == 8
        assert found[1].meta["document_id"] == "doc"
        (first, _) = store.embedding_retrieval(query("Engines"))
        assert first.content == "Engines "
        np.testing.assert_allclose(found[0].embedding or [], query("Engines "), atol=1e-6)
        for change_it in (
            lambda: store.delete_documents(["doc-0"]),
            lambda: store.write_documents([replace(found[0], content="x")], policy=DuplicatePolicy.OVERWRITE),
            lambda: store.update_by_filter({"field": "author", "operator": "==", "value": "Ada"}, {"author": "Bob"}),
        ):
            with pytest.raises(DocumentStoreError, match=r"a passage of notes.txt, which search-index keeps"):
                change_it()
        assert store.write_documents(found, policy=DuplicatePolicy.SKIP) == 0
        store.write_documents(embedded(DOCUMENTS[0]))
        assert store.count_documents() == 3
        assert store.delete_by_filter({"field": "author", "operator": "==", "value": "Ada"}) == 2
        assert store.filter_documents() == embedded(DOCUMENTS[0])


def test_a_written_document_is_found_by_the_service(where: dict[str, Any]) -> None:
    indexed(where)
    with closing(SearchAppDocumentStore("c", **where)) as store:
        store.write_documents(embedded(Document(id="1", content="A river in Vienna.", meta=ANYTHING), scale=2.0))
    with closing(open_catalog(settings_of(where))) as catalog, closing(catalog.open("c")) as index:
        (found,) = index.search_both(["rivers"], ENCODER.encode_queries(["A river in Vienna."]), k=1)
        assert found.dense[0].score == pytest.approx(1, abs=1e-5)
        assert found.dense[0].passage.text == found.keyword[0].passage.text == "A river in Vienna."
        assert "haystack:rest" not in index.fields()
        assert "haystack:rest" not in HitOut.of(found.dense[0]).meta
        document = index.document("1")
        assert document is not None
        assert (document.title, document.text) == ("Notes", "A river in Vienna.")


def test_a_store_goes_through_yaml_without_its_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ES_KEY", "very secret")
    server = {"urls": ["http://127.0.0.1:9"], "prefix": "p"}
    store = SearchAppDocumentStore(
        "c",
        embedding_dim=64,
        settings={"store": "elasticsearch", "elasticsearch": server},
        api_key=Secret.from_env_var("ES_KEY"),
    )
    written = store.to_dict()
    assert "very secret" not in json.dumps(written)
    again = SearchAppDocumentStore.from_dict(json.loads(json.dumps(written)))
    assert again.to_dict() == written
    with pytest.raises(ValueError, match="as Haystack Secrets"):
        SearchAppDocumentStore("c", settings={"elasticsearch": {"password": "very secret"}})
    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        SearchAppDocumentStore("c", home=str(tmp_path), api_key=Secret.from_token("very secret")).to_dict()


def test_a_rebuild_turns_a_written_document_into_passages() -> None:
    written = Document(id="1", content="One. Two.", meta={"a": {"b": None}, "c": 1}, embedding=[3.0, 0.0])
    (owned,) = documents.to_change(written, dim=2, language="en").documents
    passage = Passage("hash", owned.id, "", "Two.", 5, 9, None, owned.source, owned.meta)
    found = documents.to_document(passage, np.array([0.0, 1.0], dtype=np.float32))
    assert (found.id, found.content, found.embedding) == ("hash", "Two.", [0.0, 1.0])
    assert found.meta["document_id"] == "1"
    assert found.meta["c"] == 1
    assert "haystack:rest" not in found.meta


def test_apply_refuses_a_collection_of_the_document_store(where: dict[str, Any]) -> None:
    with closing(SearchAppDocumentStore("c", embedding_dim=64, **where)) as store:
        store.write_documents(DOCUMENTS)
    with pytest.raises(IndexMismatch):
        indexed(where)


def settings_of(where: dict[str, Any]) -> Settings:
    given = {**where.get("settings", {}), **({"home": where["home"]} if "home" in where else {})}
    if where.get("password") is not None:
        given["elasticsearch"] = {**given["elasticsearch"], "password": os.environ["ES_PASSWORD"]}
    return load_settings(**given)


def indexed(where: dict[str, Any]) -> None:
    """A file of two passages, as `search-index apply` writes it."""
    meta = {"author": "Ada"}
    texts = ["Engines ", "and looms."]
    starts = [0, len(texts[0])]
    document = types.Document("doc", "Notes", "".join(texts), "notes.txt", meta, "en")
    passages = tuple(
        Passage(f"doc-{number}", "doc", "", text, start, start + len(text), None, "notes.txt", meta)
        for number, (text, start) in enumerate(zip(texts, starts, strict=True))
    )
    batch = PassageBatch(passages, ENCODER.encode_passages(texts))
    record = FileRecord("/notes.txt", "notes.txt", "digest", 18, 1, 1)
    with (
        closing(open_catalog(settings_of(where))) as catalog,
        catalog.writer("c", Manifest(ENCODER.stamp, "v1 64/8", "auto")) as writer,
    ):
        assert writer.write([FileChange(record, (document,), batch)]) == []
        writer.finish()
