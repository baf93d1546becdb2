"""Haystack's own tests of a document store, on both of our stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing import document_store as sync_tests
from haystack.testing import document_store_async as async_tests
from haystack.utils import Secret

from search_app.components.document_store import SearchAppDocumentStore


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
