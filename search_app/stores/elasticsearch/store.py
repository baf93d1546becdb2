"""Read a collection on Elasticsearch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from search_app.errors import IndexNotFound
from search_app.manifest import Manifest
from search_app.protocols import FileRecord
from search_app.stores import filters
from search_app.stores.elasticsearch import schema, spelling
from search_app.stores.elasticsearch.connection import (
    BUSY_STATUSES,
    Busy,
    Connection,
    ExpectedStatus,
    Request,
    dumps,
    reason,
)
from search_app.stores.elasticsearch.filters import to_query
from search_app.stores.elasticsearch.indices import live_version
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.text import analysis
from search_app.types import Document, Filter, Hit, Matrix, Passage, PassageBatch, Rankings

T = TypeVar("T")
MAX_HITS = 10_000
"""The most hits in one response."""
_FRESH_SECONDS = 0.5
_PAGE = 1_000
_MAX_WORDS = 1_000
_MAX_OVERLAPPING = 10
"""Passages that have the same character."""


class ElasticsearchStore:
    """Each call uses one published index, so one generation; a new one is noticed within a second.

    `k` is limited to 10,000. Both retrievers for any number of questions are one request, and up to two more where no
    hit has one of the words.
    """

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection = connection
        self._collection = collection
        self._lock = threading.Lock()
        self._version: IndexVersion | None = None
        self._looked = -1e9
        self.manifest = _manifest(self._current().manifest)

    @property
    def generation(self) -> int:
        return self._current(fresh=True).generation

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return self._search(k, where, vectors=vectors)[0]

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return self._search(k, where, questions=questions)[1]

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        dense, keyword, generation = self._search(k, where, questions=questions, vectors=vectors)
        return [Rankings(*both, generation) for both in zip(dense, keyword, strict=True)]

    def document(self, document_id: str) -> Document | None:
        def ask(version: IndexVersion) -> Document | None:
            first = self._entry(version, f"d:{document_id}")
            if first is None:
                return None
            texts = [first["text"]]
            for number in range(1, first["texts"]):
                more = self._entry(version, f"t:{document_id}:{number}")
                texts.append(more["text"] if more else "")
            return schema.document_of(document_id, first, "".join(texts))

        return self._on_live(ask)

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        without = {"excludes": ["text", *schema.OUTLINE]}
        found = self._all("document", ["sort", "order", "document"], without)
        return [
            schema.document_of(source["document"], source, "")
            for source in itertools.islice(found, offset, offset + limit)
        ]

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        version = self._current(fresh=True)
        conditions: list[dict[str, Any]] = [{"term": {"kind": "passage"}}]
        if where is not None:
            conditions.append(to_query(filters.check(where, version.fields or None)))
        pages = [None] if ids is None else [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]
        for page in pages:
            wanted = [] if page is None else [{"ids": {"values": [f"p:{id}" for id in page]}}]
            found = walk(
                self._connection.question,
                version.index,
                {"bool": {"filter": [*conditions, *wanted]}},
                ["document", "start", "key"],
                {"includes": schema.PASSAGE_FIELDS},
                stored=["vector", "_source"] if vectors else (),
            )
            while hits := list(itertools.islice(found, _PAGE)):
                yield schema.batch_of(hits, _manifest(version.manifest).encoder.dim if vectors else 0)

    def passages_of(self, document_id: str, *, limit: int, start: int = 0, end: int | None = None) -> list[Passage]:
        def ask(version: IndexVersion) -> list[Passage]:
            # Only the start is indexed: the passages with the first character are those before it that go on.
            before = self._starting(version, document_id, {"lt": start}, _MAX_OVERLAPPING, "desc") if start else []
            first = min((passage.start for passage in before if passage.end > start), default=start)
            return self._starting(version, document_id, {"gte": first, **({} if end is None else {"lt": end})}, limit)

        return self._on_live(ask)

    def count_passages(self, where: Filter) -> int:
        def ask(version: IndexVersion) -> int:
            condition = to_query(filters.check(where, version.fields or None))
            query = {"bool": {"filter": [{"term": {"kind": "passage"}}, condition]}}
            return int(
                self._connection.question(lambda client: client.count(index=version.index, query=query))["count"]
            )

        return self._on_live(ask)

    def files(self) -> Iterator[FileRecord]:
        return map(schema.file_record, self._all("file", ["path"], True))

    def file_of(self, document_id: str) -> FileRecord | None:
        def ask(version: IndexVersion) -> FileRecord | None:
            document = self._entry(version, f"d:{document_id}", "file")
            found = self._entry(version, f"f:{document['file']}") if document else None
            return schema.file_record(found) if found else None

        return self._on_live(ask)

    def fields(self) -> Mapping[str, str]:
        return dict(sorted((self._current().fields or {}).items()))

    def counts(self) -> Mapping[str, int]:
        found = self._on_live(lambda version: self._connection.question(lambda client: count(client, version.index)))
        return counts_of(found)

    def is_degraded(self) -> bool:
        """Queries all shards, since the cluster may list an index whose shards are lost."""

        def ask(version: IndexVersion) -> None:
            try:
                self._connection.question(
                    lambda client: client.search(
                        index=version.index,
                        size=0,
                        terminate_after=1,
                        track_total_hits=False,
                        allow_partial_search_results=False,
                    )
                )
            except ExpectedStatus as error:
                raise _Gone from error

        self._on_live(ask)
        return False

    def close(self) -> None:
        """The connection belongs to the catalog."""

    def _search(
        self, k: int, where: Filter | None, *, questions: Sequence[str] = (), vectors: Matrix | None = None
    ) -> tuple[list[list[Hit]], list[list[Hit]], int]:
        def ask(version: IndexVersion) -> tuple[list[list[Hit]], list[list[Hit]], int]:
            condition = None
            if where is not None:
                condition = to_query(filters.check(where, version.fields or None))
            size = min(k, MAX_HITS)
            dense = [] if vectors is None else [self._dense(version, vector, size, condition) for vector in vectors]
            keyword = [self._keyword(version, question, size, condition) for question in questions]
            answers = self._msearch(version, [body for body in (*dense, *keyword) if body is not None])
            found = [
                [] if body is None else [schema.scored(hit, name) for hit in next(answers)["hits"]["hits"]]
                for name, bodies in (("dense", dense), ("bm25", keyword))
                for body in bodies
            ]
            by_words = self._corrected(version, questions, found[len(dense) :], size, condition)
            return found[: len(dense)], by_words, version.generation

        return self._on_live(ask)

    def _corrected(
        self,
        version: IndexVersion,
        questions: Sequence[str],
        found: Sequence[list[Hit]],
        k: int,
        condition: dict[str, Any] | None,
    ) -> list[list[Hit]]:
        """The hits of each question, with its typing mistakes corrected."""
        if not version.analyses:  # no passages yet
            return list(found)
        rules = _manifest(version.manifest).words
        unseen = [
            spelling.unseen(question, version.analyses, rules, hits)
            for question, hits in zip(questions, found, strict=True)
        ]
        looked_up = self._msearch(
            version, [spelling.lookup(word, version.analyses) for words in unseen for word in words]
        )
        unknown = [[word for word in words if not next(looked_up)["hits"]["total"]["value"]] for words in unseen]
        bodies = [
            self._keyword(version, question, k, condition, spelling.corrections(words, version.analyses))
            for question, words in zip(questions, unknown, strict=True)
            if words
        ]
        again = self._msearch(version, [body for body in bodies if body is not None])
        return [
            [schema.scored(hit, "bm25") for hit in next(again)["hits"]["hits"]] if words else hits
            for words, hits in zip(unknown, found, strict=True)
        ]

    def _dense(self, version: IndexVersion, vector: Any, k: int, condition: dict[str, Any] | None) -> dict[str, Any]:
        # A rebuild may have changed the encoder.
        _manifest(version.manifest).require_encoder(self.manifest.encoder)
        settings = self._connection.settings
        knn: dict[str, Any] = {
            "field": "embedding",
            "query_vector": np.asarray(vector, dtype=np.float32),
            "k": k,
            "num_candidates": min(MAX_HITS, max(k, settings.candidates)),
        }
        if version.vectors in schema.QUANTISED:
            knn["rescore_vector"] = {"oversample": settings.oversample}
        if condition is not None:
            knn["filter"] = condition
        return {"knn": knn, "size": k, "_source": schema.PASSAGE_FIELDS, "track_total_hits": False}

    def _keyword(
        self,
        version: IndexVersion,
        question: str,
        k: int,
        condition: dict[str, Any] | None,
        corrections: Sequence[str] = (),
    ) -> dict[str, Any] | None:
        rules = _manifest(version.manifest).words
        words = [*analysis.normalise_question(question, rules).split()[:_MAX_WORDS], *corrections]
        if not words or not version.analyses:
            return None
        query = spelling.matching(" ".join(words), version.analyses)
        if condition is not None:
            query["bool"]["filter"] = [condition]
        return {"query": query, "size": k, "_source": schema.PASSAGE_FIELDS, "track_total_hits": False}

    def _msearch(self, version: IndexVersion, bodies: Sequence[dict[str, Any]]) -> Iterator[Any]:
        if not bodies:
            return iter(())
        # A lost shard is an error rather than an incomplete result.
        header = {"index": version.index, "allow_partial_search_results": False}
        # Word statistics of all shards, so that a passage's score does not depend on its shard.
        everywhere = {**header, "search_type": "dfs_query_then_fetch"}
        lines: list[Any] = [dumps(part) for body in bodies for part in (header if "knn" in body else everywhere, body)]

        def request(client: Any) -> Any:
            result = client.msearch(searches=lines)
            for answer in result["responses"]:
                if answer.get("status", 200) in BUSY_STATUSES:
                    raise Busy(reason(answer))
            return result

        answers = self._connection.question(request)["responses"]
        for answer in answers:
            if answer.get("status") == 404:
                raise _Gone
            if "error" in answer:
                raise self._connection.refused(reason(answer))
        return iter(answers)

    def _starting(
        self, version: IndexVersion, document_id: str, within: dict[str, int], limit: int, order: str = "asc"
    ) -> list[Passage]:
        """The passages of a document that begin `within` a range, sorted by their start."""
        conditions = [{"term": {"kind": "passage"}}, {"term": {"document": document_id}}, {"range": {"start": within}}]
        try:
            found = self._connection.question(
                lambda client: client.search(
                    index=version.index,
                    query={"bool": {"filter": conditions}},
                    sort=[{"start": order}],
                    size=min(limit, MAX_HITS),
                    source={"includes": schema.PASSAGE_FIELDS},
                    track_total_hits=False,
                    allow_partial_search_results=False,
                )
            )
        except ExpectedStatus as error:
            raise _Gone from error
        return list(map(schema.passage_of, found["hits"]["hits"]))

    def _entry(self, version: IndexVersion, id: str, *fields: str) -> Any:
        try:
            found = self._connection.question(
                lambda client: client.get(index=version.index, id=id, source_includes=fields or None)
            )
        except ExpectedStatus as error:
            if error.is_missing_index:
                raise _Gone from error
            return None
        return found["_source"]

    def _all(self, kind: str, sort: Sequence[str], source: object) -> Iterator[Any]:
        """All entries of a kind in the live index, sorted."""
        version = self._current(fresh=True)
        found = walk(self._connection.question, version.index, {"term": {"kind": kind}}, sort, source)
        return (hit["_source"] for hit in found)

    def _current(self, *, fresh: bool = False) -> IndexVersion:
        """The live version, looked up at most twice a second unless `fresh`. Raises IndexNotFound."""
        with self._lock:
            if self._version is not None and not fresh and time.monotonic() - self._looked < _FRESH_SECONDS:
                return self._version
        version = live_version(self._connection, self._collection)
        if version is None:
            raise IndexNotFound(self._collection)
        with self._lock:
            self._version, self._looked = version, time.monotonic()
            return version

    def _on_live(self, ask: Callable[[IndexVersion], T]) -> T:
        """Retry once if the index was replaced twice, and so deleted, since it was looked up."""
        with self._connection.one_deadline():
            try:
                return ask(self._current())
            except _Gone:
                try:
                    return ask(self._current(fresh=True))
                except _Gone:
                    raise IndexNotFound(self._collection) from None


@lru_cache(8)
def _manifest(text: str) -> Manifest:
    return Manifest.from_json(text, oldest=1)


class _Gone(Exception):
    """The index was deleted."""


def walk(
    ask: Callable[[Request], Any],
    index: str,
    query: dict[str, Any],
    sort: Sequence[str],
    source: object,
    *,
    stored: Sequence[str] = (),
) -> Iterator[Any]:
    """All matching entries, sorted by fields that are unique together; `ask`: the connection's `question` or `job`."""
    body: dict[str, Any] = {"query": query, "sort": list(sort), "source": source, "size": _PAGE}
    if stored:
        body["stored_fields"] = list(stored)
    while True:
        page = ask(lambda client: client.search(index=index, **body))["hits"]["hits"]
        yield from page
        if len(page) < _PAGE:
            return
        body["search_after"] = page[-1]["sort"]


def count(client: Any, index: str) -> Any:
    """Request the number of documents of each kind."""
    return client.search(
        index=index,
        size=0,
        track_total_hits=False,
        aggs={"kinds": {"terms": {"field": "kind", "size": 10}}, "vectors": {"filter": {"exists": {"field": "key"}}}},
    )


def counts_of(found: Any) -> dict[str, int]:
    """Passages with the same text are counted with a vector each."""
    about = found["aggregations"]
    kinds = {bucket["key"]: int(bucket["doc_count"]) for bucket in about["kinds"]["buckets"]}
    return {
        "files": kinds.get("file", 0),
        "documents": kinds.get("document", 0),
        "passages": kinds.get("passage", 0),
        "vectors": int(about["vectors"]["doc_count"]),
    }
