"""The two stores to damage: each saves the same passages to a folder, opens it and searches."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from pydoc_data.topics import topics
from typing import Protocol

import numpy as np

from indexing import job
from search_app.manifest import encoded_text
from search_app.protocols import Encoder
from search_app.settings import Settings, VectorSettings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.types import Matrix, Passage

Answers = list[list[tuple[str, str, float]]]
"""Source, text and score of the hits for each passage's vector and, in our store, for its words."""
K = 5


class Store(Protocol):
    name: str

    def save(self, folder: Path) -> None: ...

    def files(self, folder: Path) -> list[Path]:
        """The files to damage."""
        ...

    def answers(self, folder: Path) -> Answers:
        """Open the folder and search it for every passage."""
        ...


class Ours:
    """The embedded store with both of its caches."""

    name = "this store"

    def __init__(self, encoder: Encoder, docs: Path) -> None:
        self._encoder, self._docs = encoder, docs
        self.passages: list[Passage] = []
        self.vectors = np.empty((0, encoder.stamp.dim), dtype=np.float32)

    def save(self, folder: Path) -> None:
        settings = self._settings(folder)
        job.apply([self._docs], settings=settings, encoder=self._encoder)
        with closing(EmbeddedCatalog(settings)) as catalog:
            catalog.compact("default")
            with closing(catalog.open("default")) as store:
                count = store.counts()["passages"]
                (hits,) = store.search_dense(self._encoder.encode_queries(["statement"]), k=count)
        self.passages = [hit.passage for hit in hits]
        self.vectors = self._encoder.encode_passages([encoded_text(passage) for passage in self.passages])

    def files(self, folder: Path) -> list[Path]:
        found = self._settings(folder).collection_folder("default").iterdir()
        return [path for path in found if path.name not in ("writer.lock", "writer.pid") and path.stat().st_size]

    def answers(self, folder: Path) -> Answers:
        with closing(EmbeddedCatalog(self._settings(folder))) as catalog, closing(catalog.open("default")) as store:
            dense = store.search_dense(self.vectors, k=K)
            keyword = store.search_keyword([passage.text[:200] for passage in self.passages], k=K)
        return [[(hit.passage.source, hit.passage.text, hit.score) for hit in hits] for hits in (*dense, *keyword)]

    def _settings(self, folder: Path) -> Settings:
        return Settings(home=folder, vectors=VectorSettings(index="compressed", lists=4, probes=4, oversample=100))


class Haystack:
    """FAISSDocumentStore, saved with its `save`."""

    name = "Haystack's FAISSDocumentStore"

    def __init__(self, passages: list[Passage], vectors: Matrix) -> None:
        self._passages, self._vectors = passages, vectors

    def save(self, folder: Path) -> None:
        from haystack.dataclasses import Document
        from haystack_integrations.document_stores.faiss import FAISSDocumentStore

        store = FAISSDocumentStore(embedding_dim=self._vectors.shape[1])
        store.write_documents(
            [
                Document(id=item.id, content=item.text, meta={"source": item.source}, embedding=vector.tolist())
                for item, vector in zip(self._passages, self._vectors, strict=True)
            ]
        )
        store.save(folder / "index")

    def files(self, folder: Path) -> list[Path]:
        return sorted(folder.iterdir())

    def answers(self, folder: Path) -> Answers:
        from haystack_integrations.document_stores.faiss import FAISSDocumentStore

        store = FAISSDocumentStore(index_path=str(folder / "index"), embedding_dim=self._vectors.shape[1])
        found = [store.search(question.tolist(), top_k=K) for question in self._vectors]
        return [
            [(str(item.meta.get("source")), item.content or "", item.score or 0.0) for item in items] for items in found
        ]


def write_topics(folder: Path, *, count: int) -> None:
    """Write Python's language reference, one file per topic."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sorted(topics.items())[:count]:
        (folder / f"{re.sub('[^A-Za-z0-9]+', '-', name)}.txt").write_text(text, encoding="utf-8")
