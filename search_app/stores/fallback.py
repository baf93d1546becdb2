"""Answer from a local replica, marked as degraded, while the server cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from search_app.errors import BackendUnavailable, IndexNotFound, IndexUnavailable
from search_app.manifest import Manifest
from search_app.protocols import EncoderStamp, FileRecord, IndexWriter
from search_app.stores.index import Catalog, Exports, Index, ShardWriters
from search_app.types import Document, Filter, Hit, Matrix, Passage, PassageBatch, Rankings

T = TypeVar("T")


class FallbackStore:
    """Each call goes to the primary, and to the replica if that raises BackendUnavailable.

    Both are opened on first use, so a FallbackStore can be made while the server is down. Without a replica with the
    same encoder, the primary's error is raised.
    """

    def __init__(self, primary: Callable[[], Index], replica: Callable[[], Index]) -> None:
        self._make_primary = primary
        self._make_replica = replica
        self._lock = threading.Lock()
        self._primary: Index | None = None
        self._replica: Index | None = None
        self._encoder: EncoderStamp | None = None
        self._encoder = self.manifest.encoder

    @property
    def manifest(self) -> Manifest:
        return self._ask(lambda store: store.manifest)[0]

    @property
    def generation(self) -> int:
        return self._ask(lambda store: store.generation)[0]

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return self._ask(lambda store: store.search_dense(vectors, k=k, where=where))[0]

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return self._ask(lambda store: store.search_keyword(questions, k=k, where=where))[0]

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        found, degraded = self._ask(lambda store: store.search_both(questions, vectors, k=k, where=where))
        return [replace(rankings, degraded=True) for rankings in found] if degraded else found

    def document(self, document_id: str) -> Document | None:
        return self._ask(lambda store: store.document(document_id))[0]

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        return self._ask(lambda store: store.documents(limit=limit, offset=offset))[0]

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        return iter(self._ask(lambda store: list(store.passages(where, ids=ids, vectors=vectors)))[0])

    def passages_of(self, document_id: str, *, limit: int, start: int = 0, end: int | None = None) -> list[Passage]:
        return self._ask(lambda store: store.passages_of(document_id, limit=limit, start=start, end=end))[0]

    def count_passages(self, where: Filter) -> int:
        return self._ask(lambda store: store.count_passages(where))[0]

    def files(self) -> Iterator[FileRecord]:
        # As one list, so that all records come from one store.
        return iter(self._ask(lambda store: list(store.files()))[0])

    def file_of(self, document_id: str) -> FileRecord | None:
        return self._ask(lambda store: store.file_of(document_id))[0]

    def fields(self) -> Mapping[str, str]:
        return self._ask(lambda store: store.fields())[0]

    def counts(self) -> Mapping[str, int]:
        return self._ask(lambda store: store.counts())[0]

    def is_degraded(self) -> bool:
        return self._ask(lambda store: store.is_degraded())[1]

    def close(self) -> None:
        for store in (self._primary, self._replica):
            if store is not None:
                store.close()

    def _ask(self, ask: Callable[[Index], T]) -> tuple[T, bool]:
        """The result, and whether it came from the replica."""
        try:
            return ask(self._opened_primary()), False
        except BackendUnavailable as error:
            try:
                return ask(self._opened_replica()), True
            except IndexUnavailable:
                raise error from None

    def _opened_primary(self) -> Index:
        # Without the lock, so that threads do not queue behind one that waits for a dead server.
        if self._primary is None:
            self._primary = self._checked(self._make_primary)
        return self._primary

    def _opened_replica(self) -> Index:
        with self._lock:
            if self._replica is None:
                self._replica = self._checked(self._make_replica)
            return self._replica

    def _checked(self, make: Callable[[], Index]) -> Index:
        """Raises IndexMismatch if the index has another encoder than the one opened first."""
        store = make()
        try:
            if self._encoder is not None:
                store.manifest.require_encoder(self._encoder)
        except BaseException:
            store.close()
            raise
        return store


class Primary(Catalog, ShardWriters, Exports, Protocol):
    """A catalog that a replica can be made of."""


class FallbackCatalog:
    """Reads fall back to the replica; everything else uses the primary."""

    def __init__(self, primary: Primary, replica: Catalog) -> None:
        self._primary = primary
        self._replica = replica

    def names(self) -> list[str]:
        try:
            return self._primary.names()
        except BackendUnavailable:
            if found := self._replica.names():
                return found
            raise

    def describe(self, name: str) -> dict[str, object]:
        return self._primary.describe(name)

    def open(self, name: str) -> Index:
        return FallbackStore(lambda: self._primary.open(name), lambda: self._replica.open(name))

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> IndexWriter:
        return self._primary.writer(name, manifest, rebuild=rebuild)

    def shard_writer(
        self, name: str, manifest: Manifest, shard: tuple[int, int], *, rebuild: bool = False
    ) -> IndexWriter:
        return self._primary.shard_writer(name, manifest, shard, rebuild=rebuild)

    def verify(self, name: str) -> list[str]:
        return self._primary.verify(name)

    def compact(self, name: str) -> dict[str, object]:
        return self._primary.compact(name)

    def rollback(self, name: str) -> int:
        return self._primary.rollback(name)

    def drop(self, name: str) -> None:
        """Drops the replica too, also when an interrupted drop has already removed the primary."""
        try:
            self._primary.drop(name)
        except IndexNotFound:
            self._replica.drop(name)
        else:
            with suppress(IndexNotFound):
                self._replica.drop(name)

    def rename(self, old: str, new: str) -> None:
        """Renames the replica too, in place of an outdated one with the new name."""
        self._primary.rename(old, new)
        with suppress(IndexNotFound):
            self._replica.drop(new)
        with suppress(IndexNotFound):
            self._replica.rename(old, new)

    def replicate(self, name: str) -> int:
        """The old replica serves until the new one is complete."""
        manifest, changes = self._primary.export(name)
        passages = 0
        with self._replica.writer(name, manifest, rebuild=True) as writer:
            writer.remove_files([record.path for record in writer.files()])  # left by an interrupted call
            for change in changes:
                writer.write([change])
                passages += len(change.batch.passages)
            writer.finish()
        return passages

    def close(self) -> None:
        self._primary.close()
        self._replica.close()
