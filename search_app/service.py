"""The way of a question: encode, retrieve, fuse, rank, read, calibrate. CLI, API, pages and Python all come here."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from search_app.batching import MicroBatcher
from search_app.cache import ByteCache
from search_app.collections import OpenCollection, OpenCollections
from search_app.errors import IndexMismatch, IndexNotFound, SearchAppError
from search_app.fusion import best
from search_app.observability import collect_timings, stage
from search_app.protocols import Encoder, PassageStore, Ranker, Reader
from search_app.settings import Settings
from search_app.text.questions import is_question, phrases
from search_app.types import Answer, Filter, Hit, Rankings, SearchResult, SpanCandidate
from search_app.versions import newest_first

Vector = NDArray[np.float32]
_log = logging.getLogger(__name__)
_THREADS = 8
_FIRST_QUESTION = "What is this about?"
_MANY_CANDIDATES = 1000
"""For a quoted phrase, which no retriever looks for, and for a collection with many copies of the same text."""
_BYTES_PER_ENTRY = 200
"""What a cache entry takes beside its text and vector, roughly."""


class SearchService:
    """Searches and answers over named collections. Safe to use from any number of threads.

    `bootstrap.open_service` builds it. `open_collection` returns a store and the encoder of its index; `make_reader`
    and `make_ranker` are called when they are first needed.
    """

    def __init__(
        self,
        settings: Settings,
        open_collection: Callable[[str], tuple[PassageStore, Encoder]],
        make_reader: Callable[[], Reader],
        make_ranker: Callable[[], Ranker] | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        *,
        collections: Callable[[], Sequence[str]] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._make_reader = make_reader
        self._make_ranker = make_ranker
        self._describe = describe
        self._names = collections or settings.collections
        self._close = close
        self._collections = OpenCollections(open_collection)
        self._lock = RLock()
        self._encoding: dict[str, MicroBatcher[str, Vector]] = {}
        self._vectors: ByteCache[Vector] = ByteCache(
            settings.cache.query_vectors_mb << 20, lambda vector: vector.nbytes + _BYTES_PER_ENTRY
        )
        self._results: ByteCache[SearchResult] = ByteCache(settings.cache.answers_mb << 20, _size_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def search(
        self, question: str, *, collection: str = "default", k: int = 10, where: Filter | None = None
    ) -> SearchResult:
        """The k best passages."""
        return self._checked(question, collection, k, None, where)

    def answer(
        self, question: str, *, collection: str = "default", k: int = 10, top_k: int = 3, where: Filter | None = None
    ) -> SearchResult:
        """The k best passages, and the `top_k` best answers marked in the first `reader.passages` of them.

        A keyword query (search_app.text.questions) gets passages alone.
        """
        return self._checked(question, collection, k, top_k, where)

    def search_many(
        self, questions: Sequence[str], *, collection: str = "default", k: int = 10, where: Filter | None = None
    ) -> list[SearchResult]:
        """As `search` for each question; their encoding shares forward passes."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda question: self._checked(question, collection, k, None, where), questions))

    def answer_many(
        self,
        questions: Sequence[str],
        *,
        collection: str = "default",
        k: int = 10,
        top_k: int = 3,
        where: Filter | None = None,
    ) -> list[SearchResult]:
        """As `answer` for each question; passages of several questions are read together."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda question: self._checked(question, collection, k, top_k, where), questions))

    def _checked(self, question: str, name: str, k: int, top_k: int | None, where: Filter | None) -> SearchResult:
        self.settings.limits.check(question, k, top_k)
        return self._ask(question, name, k, top_k, where)

    def _ask(self, question: str, name: str, k: int, top_k: int | None, where: Filter | None) -> SearchResult:
        collection = self._collections.get(name)
        try:
            return self._cached(collection, question, name, k, top_k, where)
        except (IndexMismatch, IndexNotFound):  # since it was opened, it was rebuilt with another encoder or replaced
            collection = self._collections.reopen(name, collection)
            return self._cached(collection, question, name, k, top_k, where)

    def _cached(
        self, collection: OpenCollection, question: str, name: str, k: int, top_k: int | None, where: Filter | None
    ) -> SearchResult:
        if not self.settings.cache.answers_mb:
            return self._find(collection, question, k, top_k, where)
        request = (name, question, k, top_k, json.dumps(where, sort_keys=True, default=str))
        found = self._results.get((collection, collection.store.generation, *request))
        if found is None:
            found = self._find(collection, question, k, top_k, where)
            if not found.degraded:
                self._results.put((collection, found.generation, *request), found)
        return found

    def _find(
        self, collection: OpenCollection, question: str, k: int, top_k: int | None, where: Filter | None
    ) -> SearchResult:
        """From the question to its result. `top_k` None: passages only."""
        passages = self.settings.reader.passages
        needed = k if top_k is None else max(k, passages)
        began = time.perf_counter()
        with collect_timings() as timings:
            vector = self._encode(collection.encoder, question)
            rankings, hits = self._hits(collection.store, question, vector, needed, where)
            hits = newest_first(question, self._rank(question, hits))
            answers: list[Answer] = []
            if top_k is not None and is_question(question):
                with stage("read"):
                    candidates = self._extract(question, hits[:passages])
                    answers = self.reader.score(candidates, hits[:passages], top_k=top_k)  # calibrated
        timings["total"] = time.perf_counter() - began
        return SearchResult(question, tuple(hits[:k]), tuple(answers), timings, rankings.generation, rankings.degraded)

    def _hits(
        self, store: PassageStore, question: str, vector: Vector, k: int, where: Filter | None
    ) -> tuple[Rankings, list[Hit]]:
        """The rankings, and the k best hits of both. More candidates are taken if too many have the same text."""
        retrieval = self.settings.retrieval
        candidates = max(k, _MANY_CANDIDATES if phrases(question) else retrieval.candidates)
        while True:
            rankings = self._retrieve(store, question, vector, candidates, where)
            with stage("fuse"):
                hits = best(question, rankings, retrieval, k=k)
            if len(hits) >= k or len(rankings.dense) < candidates or candidates >= _MANY_CANDIDATES:
                return rankings, hits
            candidates = _MANY_CANDIDATES

    def _encode(self, encoder: Encoder, question: str) -> Vector:
        """float32 (dim,), unit length."""
        digest = encoder.stamp.digest
        with stage("encode"):
            vector = self._vectors.get((digest, question))
            if vector is None:
                with self._lock:
                    encode = self._encoding.setdefault(
                        digest, MicroBatcher(lambda texts: list(encoder.encode_queries(texts)))
                    )
                vector = encode(question)
                self._vectors.put((digest, question), vector)
            return vector

    @staticmethod
    def _retrieve(store: PassageStore, question: str, vector: Vector, k: int, where: Filter | None) -> Rankings:
        """The k best of each retriever, from one generation of the index."""
        with stage("retrieve"):
            (rankings,) = store.search_both([question], vector[None], k=k, where=where)
        return rankings

    def _rank(self, question: str, hits: list[Hit]) -> list[Hit]:
        """The first `ranker.top` hits in the ranker's order; the rest follow. Unchanged without a ranker."""
        if self._ranker is None:
            return hits
        top = self.settings.ranker.top
        with stage("rank"):
            (ranked,) = self._ranker.rank([question], [hits[:top]])
        return [*ranked, *hits[top:]]

    def _extract(self, question: str, hits: Sequence[Hit]) -> list[SpanCandidate]:
        """The reader's best spans of each hit, by their logits."""
        with self._lock:
            extract = self._batched_extract
        return extract((question, hits))

    @cached_property
    def _batched_extract(self) -> MicroBatcher[tuple[str, Sequence[Hit]], list[SpanCandidate]]:
        reader = self.reader
        return MicroBatcher(
            lambda batch: reader.extract([question for question, _ in batch], [hits for _, hits in batch])
        )

    @cached_property
    def reader(self) -> Reader:
        """The reader, loaded at first use."""
        return self._make_reader()

    @cached_property
    def _ranker(self) -> Ranker | None:
        return self._make_ranker() if self._make_ranker else None

    def warm_up(self) -> None:
        """Load the models and ask one question, so that the first user waits no longer than the next.

        It asks the first collection that can be asked, and does nothing if there is none.
        """
        try:
            names = self.collections()
        except SearchAppError as error:
            _log.warning("the models are not loaded yet: %s", error)
            return
        for name in names:
            try:
                self.answer(_FIRST_QUESTION, collection=name, k=1, top_k=1)
                return
            except SearchAppError as error:
                _log.warning("collection '%s' cannot be asked: %s", name, error)

    def store(self, collection: str = "default") -> PassageStore:
        """The open store of a collection. Raises IndexNotFound and other errors of the store."""
        return self._collections.get(collection).store

    def collections(self) -> list[str]:
        """Names of the collections that hold an index."""
        return list(self._names())

    def info(self) -> dict[str, Any]:
        """Machine, models, caches and collections, as `search-app info` shows them."""
        caches = {"query vectors": self._vectors.describe(), "answers": self._results.describe()}
        return {**self._describe(), "cache": caches}

    def close(self) -> None:
        """Close the open collections and the catalog."""
        self._collections.close()
        self._close()


def _size_of(result: SearchResult) -> int:
    """Bytes of a cached result, by the texts that it holds."""
    texts = [hit.passage.text for hit in result.hits] + [answer.text for answer in result.answers]
    return sum(4 * len(text) + _BYTES_PER_ENTRY for text in texts) + _BYTES_PER_ENTRY
