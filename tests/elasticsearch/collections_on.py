"""Collections on a real server, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from fakes import HashEncoder
from servers import Address

from search_app.manifest import Manifest, encoded_text
from search_app.protocols import FileChange, FileRecord
from search_app.settings import Settings, load_settings
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog
from search_app.types import Document, Meta, Passage, PassageBatch

ENCODER = HashEncoder(dim=64)
MANIFEST = Manifest(ENCODER.stamp, "v1 64/8", "auto")


def settings_for(address: Address, prefix: str, **more: Any) -> Settings:
    reached = {"urls": address.urls, "username": address.username, "password": address.password, "ca": address.ca}
    return load_settings(store="elasticsearch", elasticsearch={**reached, "prefix": prefix, "vectors": "flat", **more})


@contextmanager
def catalog_on(address: Address, prefix: str, **more: Any) -> Iterator[ElasticsearchCatalog]:
    with closing(ElasticsearchCatalog(settings_for(address, prefix, **more))) as catalog:
        yield catalog


def change(
    name: str, *texts: str, meta: Meta | None = None, metas: list[Meta] | None = None, first: bool = True,
    last: bool = True, language: str = "en",
) -> FileChange:  # fmt: skip
    """A file with one document and passage per text."""
    documents, passages = [], []
    for number, text in enumerate(texts):
        id = f"{name}-{number}" if first else f"{name}-more-{number}"
        stated = metas[number] if metas else meta or {}
        documents.append(Document(id, f"Title of {name}", text, f"docs/{name}", stated, language))
        passages.append(Passage(f"{id}-{text[:20]}", id, "", text, 0, len(text), None, f"docs/{name}", stated))
    record = FileRecord(f"/docs/{name}", f"docs/{name}", f"digest of {texts}", len(texts), 1, len(texts))
    vectors = ENCODER.encode_passages([encoded_text(passage) for passage in passages])
    return FileChange(record, tuple(documents), PassageBatch(tuple(passages), vectors), first=first, last=last)


def write(catalog: ElasticsearchCatalog, *changes: FileChange, rebuild: bool = False) -> None:
    with catalog.writer("c", MANIFEST, rebuild=rebuild) as writer:
        assert writer.write(changes) == []
        writer.finish()


def contents(catalog: ElasticsearchCatalog) -> dict[str, list[str]]:
    """Ids and texts of all passages by file, from a search."""
    store = catalog.open("c")
    found: dict[str, list[str]] = {record.source: [] for record in store.files()}
    (hits,) = store.search_dense(ENCODER.encode_queries(["x"]), k=10_000)
    for hit in hits:
        found[hit.passage.source].append(f"{hit.passage.id}: {hit.passage.text}")
    return {source: sorted(passages) for source, passages in found.items()}
