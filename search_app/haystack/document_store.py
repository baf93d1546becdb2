"""A collection as a Haystack `DocumentStore`. It writes to the index, as only `indexing` does otherwise."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from haystack import Document, default_from_dict, default_to_dict
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.utils import Secret
from numpy.typing import NDArray

from search_app.errors import IndexNotFound, InvalidQuery, SearchAppError
from search_app.fusion import best
from search_app.hardware import detect
from search_app.haystack.documents import UNIT_TOLERANCE, hit_to_document, is_own, path_of, to_change, to_document
from search_app.haystack.filters import split_ids, to_filter
from search_app.manifest import Manifest
from search_app.protocols import EncoderStamp, FileChange, IndexWriter
from search_app.settings import EncoderSettings, RetrievalSettings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.stores.index import Index
from search_app.types import RESERVED_META, Filter, Hit, Passage, PassageBatch

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
_DIM = 768
_FINISH_AFTER = 1_000
_SECRETS = ("api_key", "password")
_SPLITTER = "haystack"


def _in_thread(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The method as a coroutine, so that an event loop does not wait for the disk."""

    @functools.wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self, *args, **kwargs)

    return call


class SearchAppDocumentStore:
    """One collection. Safe to use from any number of threads; each write is one generation of the index.

    `settings` are settings of search-app by name, over the environment's, as {"store": "elasticsearch"}. The first
    write creates a missing collection: for vectors of `embedding_dim` (768), or for those of `encoder` ("bundled", a
    folder or a hub name), so that search-app can answer from it.
    """

    def __init__(
        self,
        collection: str = "default",
        *,
        home: str | None = None,
        embedding_dim: int | None = None,
        encoder: str | None = None,
        settings: Mapping[str, Any] | None = None,
        api_key: Secret | None = None,
        password: Secret | None = None,
    ) -> None:
        self._parameters: dict[str, Any] = {
            "collection": collection,
            "home": home,
            "embedding_dim": embedding_dim,
            "encoder": encoder,
            "settings": None if settings is None else dict(settings),
            "api_key": api_key,
            "password": password,
        }
        given = {"home": home, **(settings or {})}
        server = dict(given.get("elasticsearch") or {})
        if any(server.get(name) is not None for name in _SECRETS):
            raise ValueError("give api_key and password as Haystack Secrets of their own, not among the settings")
        for name, secret in (("api_key", api_key), ("password", password)):
            if secret is not None:
                server[name] = secret.resolve_value()
        if server:
            given["elasticsearch"] = server
        self._settings = load_settings(**given)
        self._collection = collection
        self._catalog = open_catalog(self._settings)
        self._index: Index | None = None
        self._opening = threading.Lock()
        self._write_lock = threading.Lock()
        self._unfinished = 0

    def to_dict(self) -> dict[str, Any]:
        """A secret is the name of its environment variable. Raises ValueError for a plain value."""
        return default_to_dict(self, **self._parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SearchAppDocumentStore:
        return default_from_dict(cls, data)

    def close(self) -> None:
        with self._opening:
            if self._index is not None:
                self._index.close()
                self._index = None
        self._catalog.close()

    @property
    def retrieval(self) -> RetrievalSettings:
        """The settings of fusion."""
        return self._settings.retrieval

    # --- reading

    def count_documents(self) -> int:
        return self._ask(lambda index: index.counts()["passages"], 0)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that match, oldest first (on Elasticsearch by id)."""
        return [
            to_document(passage, vector)
            for batch in self._passages(filters, vectors=True)
            for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        ]

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        if split_ids(filters)[1] is not None:
            return sum(len(batch.passages) for batch in self._passages(filters))
        to_filter(filters, ())  # raises for a bad filter even if there is no collection yet

        def count(index: Index) -> int:
            where = to_filter(filters, index.fields())
            return index.counts()["passages"] if where is None else index.count_passages(where)

        return self._ask(count, 0)

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Fields and their kinds: boolean, int, float or keyword; nested ones under dotted names."""
        kinds = {bool: "boolean", int: "int", float: "float"}
        found: dict[str, str] = {}
        for passage in self._matching(None):
            for name, value in passage.meta.items():
                for item in value if isinstance(value, list) else [value]:
                    found[name] = kinds.get(type(item), "keyword")
        return {name: {"type": kind} for name, kind in sorted(found.items()) if name != RESERVED_META}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """None for both if no document has the field, or if its values cannot be ordered."""
        values = [value for value in self._values(metadata_field, None) if isinstance(value, int | float | str)]
        try:
            return {"min": min(values), "max": max(values)}
        except (TypeError, ValueError):
            return {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """`size` values from number `from_`, ordered as text, and the total count. 1, 1.0, True and "1" differ."""
        wanted = (search_term or "").casefold()
        distinct = {(type(value).__name__, str(value)): value for value in self._values(metadata_field, filters)}
        names = sorted((text, kind) for kind, text in distinct if wanted in text.casefold())
        return [distinct[kind, text] for text, kind in names[from_ : from_ + size]], len(names)

    def count_unique_metadata_by_filter(self, filters: dict[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        names = [field.removeprefix("meta.") for field in metadata_fields]
        found: dict[str, set[tuple[type, str]]] = {name: set() for name in names}
        for passage in self._matching(filters):
            for name in names:
                found[name].update((type(value), str(value)) for value in _values(passage, name))
        return {name: len(values) for name, values in found.items()}

    # --- writing

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents in one commit; return how many were written. `DuplicatePolicy.NONE` means FAIL.

        Elasticsearch may refuse single ones; those are named by a DocumentStoreError, and the others are written.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError("write_documents takes a list of Haystack documents")
        if not documents:
            return 0
        distinct = {document.id: document for document in documents}
        if policy == DuplicatePolicy.SKIP:
            distinct = {document.id: document for document in reversed(documents)}
        elif policy != DuplicatePolicy.OVERWRITE and len(distinct) < len(documents):
            raise DuplicateDocumentError("two documents of this call have the same id")
        with self._writing() as (writer, manifest):
            known = {passage.id: passage for batch in self._passages(ids=list(distinct)) for passage in batch.passages}
            if policy == DuplicatePolicy.SKIP:
                distinct = {id: document for id, document in distinct.items() if id not in known}
            elif policy == DuplicatePolicy.OVERWRITE:
                _require_own(known.values())
            elif known:
                raise DuplicateDocumentError(f"document '{next(iter(known))}' is in the collection already")
            self._write(writer, manifest, list(distinct.values()))
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(distinct)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents; unknown ids are ignored. A passage of a file is deleted only with its whole file."""
        if not self._any(ids=document_ids):
            return
        with self._writing() as (writer, _):
            found = [passage for batch in self._passages(ids=document_ids) for passage in batch.passages]
            _require_own(found)
            self._remove(writer, found)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete all documents, also those of files. `recreate_index` starts over with this store's `embedding_dim`."""
        if recreate_index:
            with self._writing(rebuild=True) as (writer, _):
                writer.finish()
        elif self._ask(lambda index: index.counts()["files"], 0):
            with self._writing() as (writer, _):
                count = self.count_documents()
                writer.remove_files([record.path for record in writer.files()])
                self._publish(writer, count)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete matching documents, also those of files; return how many (for files: passages) there were."""
        if not self.count_documents_by_filter(filters):
            return 0
        with self._writing() as (writer, _):
            found = list(self._matching(filters))
            self._remove(writer, found)
        return len(found)

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merge `meta` into that of each matching document; return how many there were."""
        if not self.count_documents_by_filter(filters):
            return 0
        with self._writing() as (writer, manifest):
            changed = []
            for batch in self._passages(filters, vectors=True):
                _require_own(batch.passages)
                for passage, vector in zip(batch.passages, batch.embeddings, strict=True):
                    document = to_document(passage, vector)
                    changed.append(replace(document, meta={**document.meta, **meta}))
            self._write(writer, manifest, changed)
        return len(changed)

    # --- retrieval, for the retrievers

    def embedding_retrieval(
        self,
        query_embedding: Sequence[float] | NDArray[np.float32],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The nearest documents by cosine, best first: min(top_k, matching documents with an embedding)."""
        return self._retrieved(
            lambda index, where: index.search_dense(_query(query_embedding, index), k=top_k, where=where)[0],
            filters, top_k, return_embedding,
        )  # fmt: skip

    def bm25_retrieval(
        self,
        query: str,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        return self._retrieved(
            lambda index, where: index.search_keyword([query], k=top_k, where=where)[0],
            filters, top_k, return_embedding,
        )  # fmt: skip

    def hybrid_retrieval(
        self,
        query: str,
        query_embedding: Sequence[float] | NDArray[np.float32],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        retrieval: RetrievalSettings | None = None,
    ) -> list[Document]:
        """Both rankings from one generation, fused. `retrieval` defaults to the store's settings."""
        how = retrieval or self.retrieval

        def search(index: Index, where: Filter | None) -> list[Hit]:
            vectors = _query(query_embedding, index)
            (found,) = index.search_both([query], vectors, k=max(top_k, how.candidates), where=where)
            return best(query, found, how, k=top_k)

        return self._retrieved(search, filters, top_k, return_embedding)

    # --- the same from a thread

    count_documents_async = _in_thread(count_documents)
    filter_documents_async = _in_thread(filter_documents)
    write_documents_async = _in_thread(write_documents)
    delete_documents_async = _in_thread(delete_documents)
    delete_all_documents_async = _in_thread(delete_all_documents)
    delete_by_filter_async = _in_thread(delete_by_filter)
    update_by_filter_async = _in_thread(update_by_filter)
    count_documents_by_filter_async = _in_thread(count_documents_by_filter)
    count_unique_metadata_by_filter_async = _in_thread(count_unique_metadata_by_filter)
    get_metadata_fields_info_async = _in_thread(get_metadata_fields_info)
    get_metadata_field_min_max_async = _in_thread(get_metadata_field_min_max)
    get_metadata_field_unique_values_async = _in_thread(get_metadata_field_unique_values)

    # --- helpers

    def _open(self) -> Index:
        with self._opening:
            if self._index is None:
                self._index = self._catalog.open(self._collection)
            return self._index

    def _ask(self, ask: Callable[[Index], T], otherwise: T) -> T:
        """`otherwise` if the collection does not exist yet."""
        with _translated():
            try:
                return ask(self._open())
            except IndexNotFound:
                return otherwise

    def _passages(
        self, filters: Mapping[str, Any] | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        filters, named = split_ids(filters)
        ids = named if ids is None else ids
        with _translated():
            try:
                index = self._open()
                where = to_filter(filters, index.fields())
                yield from index.passages(where, ids=ids, vectors=vectors)
            except IndexNotFound:
                to_filter(filters, ())

    def _matching(self, filters: Mapping[str, Any] | None) -> Iterator[Passage]:
        return (passage for batch in self._passages(filters) for passage in batch.passages)

    def _any(self, *, ids: Sequence[str]) -> bool:
        return any(batch.passages for batch in self._passages(ids=ids))

    def _values(self, field: str, filters: Mapping[str, Any] | None) -> Iterator[Any]:
        name = field.removeprefix("meta.")
        return (value for passage in self._matching(filters) for value in _values(passage, name))

    def _retrieved(
        self,
        search: Callable[[Index, Filter | None], Iterable[Hit]],
        filters: Mapping[str, Any] | None,
        top_k: int,
        return_embedding: bool,
    ) -> list[Document]:
        if top_k < 0:
            raise ValueError(f"top_k is {top_k}, it must not be negative")

        def ask(index: Index) -> list[Document]:
            where = to_filter(filters, index.fields())
            if not top_k:
                return []
            hits = list(search(index, where))
            vectors: dict[str, NDArray[np.float32]] = {}
            if return_embedding:
                for batch in index.passages(ids=[hit.passage.id for hit in hits], vectors=True):
                    ids = [passage.id for passage in batch.passages]
                    vectors.update(zip(ids, batch.embeddings, strict=True))
            return [hit_to_document(hit, vectors.get(hit.passage.id)) for hit in hits]

        return self._ask(ask, [])

    @contextmanager
    def _writing(self, *, rebuild: bool = False) -> Iterator[tuple[IndexWriter, Manifest]]:
        """Hold the collection's writer during the block, so that nothing changes between reading and writing."""
        with self._write_lock, _translated():
            stored = None if rebuild else self._ask(lambda index: index.manifest, None)
            manifest = stored or self._new_manifest()
            with self._catalog.writer(self._collection, manifest, rebuild=rebuild) as writer:
                yield writer, manifest
            if rebuild and self._index is not None:
                with self._opening:
                    self._index.close()
                    self._index = None
            self._ask(lambda index: index.generation, 0)  # take in the commit, for the next question

    def _write(self, writer: IndexWriter, manifest: Manifest, documents: Sequence[Document]) -> None:
        changes: list[FileChange] = [
            to_change(document, dim=manifest.encoder.dim, language=manifest.analysis) for document in documents
        ]
        if not changes:
            return
        rejected = writer.write(changes)
        self._publish(writer, len(changes))
        if rejected:
            reasons = "; ".join(f"{item.path}: {item.reason}" for item in rejected[:3])
            raise DocumentStoreError(f"{len(rejected)} of {len(changes)} documents were refused: {reasons}")

    def _remove(self, writer: IndexWriter, found: Iterable[Passage]) -> None:
        passages = list(found)
        if own := [path_of(passage.id) for passage in passages if is_own(passage)]:
            writer.remove_files(own)
        if others := {passage.document_id for passage in passages if not is_own(passage)}:
            writer.remove_documents(sorted(others))
        self._publish(writer, len(passages))

    def _publish(self, writer: IndexWriter, changed: int) -> None:
        """The embedded store publishes each write at once, and refreshes its caches after enough of them."""
        self._unfinished += changed
        kept = self._ask(lambda index: index.counts()["passages"], 0)
        if self._settings.store != "embedded" or self._unfinished >= max(_FINISH_AFTER, kept // 2):
            writer.finish()
            self._unfinished = 0

    def _new_manifest(self) -> Manifest:
        name, dim = self._parameters["encoder"], self._parameters["embedding_dim"]
        if name is None:
            dim = dim or _DIM
            digest = hashlib.sha256(f"{_SPLITTER} {dim}".encode()).hexdigest()
            stamp = EncoderStamp(_SPLITTER, digest, dim, 0, "float32")
        else:
            from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

            encoder = EncoderSettings(**{**self._settings.encoder.model_dump(), "model": name})
            stamp = SentenceTransformerEncoder(encoder, detect()).stamp
            if dim not in (None, stamp.dim):
                raise DocumentStoreError(f"embedding_dim is {dim}, vectors of {stamp.model} have {stamp.dim} numbers")
        return Manifest(stamp, _SPLITTER, self._settings.analysis.language)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise our errors as Haystack's."""
    try:
        yield
    except InvalidQuery as error:
        raise FilterError(str(error)) from error
    except SearchAppError as error:
        raise DocumentStoreError(str(error)) from error


def _require_own(passages: Iterable[Passage]) -> None:
    for passage in passages:
        if not is_own(passage):
            raise DocumentStoreError(
                f"'{passage.id}' is a passage of {passage.source}, which search-index keeps: change the file and run"
                " search-index apply, or delete the whole of it with delete_by_filter"
            )


def _values(passage: Passage, name: str) -> Sequence[Any]:
    """The values of a field as they were written; the items of a list one by one."""
    value: Any = passage.meta.get(name)
    if value is None and RESERVED_META in passage.meta:
        value = json.loads(str(passage.meta[RESERVED_META])).get("meta", {}).get(name)
    return [] if value is None else value if isinstance(value, list) else [value]


def _query(embedding: Sequence[float] | NDArray[np.float32], index: Index) -> NDArray[np.float32]:
    """float32 (1, dim), unit length. Raises DocumentStoreError for another dimension."""
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.shape != (index.manifest.encoder.dim,):
        raise DocumentStoreError(
            f"the query's embedding has {vector.size} numbers, this collection takes {index.manifest.encoder.dim}"
        )
    length = float(np.linalg.norm(vector))
    is_unit = not length or abs(length - 1) < UNIT_TOLERANCE  # unchanged: the same scores as without Haystack
    return (vector if is_unit else vector / length)[None]
