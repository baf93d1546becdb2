"""The one object behind CLI, API and Python: checks a request, runs the pipeline, returns plain results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from haystack import Pipeline
from haystack.core.errors import PipelineRuntimeError
from numpy.typing import NDArray

from search_app.errors import IndexMismatch, SearchAppError
from search_app.haystack.convert import MarkedAnswer, to_hit
from search_app.haystack.embedders import QueryEmbedder
from search_app.haystack.pipelines import answer_pipeline, search_pipeline
from search_app.haystack.rankers import PassageRanker
from search_app.haystack.readers import AnswerReader
from search_app.haystack.retrievers import HybridRetriever, RankFusion
from search_app.observability import collect_timings, silence_snapshots
from search_app.protocols import Encoder, PassageStore, Ranker, Reader
from search_app.settings import Settings
from search_app.types import Answer, Filter, Hit, Rankings, SearchResult

T = TypeVar("T")
R = TypeVar("R")
_BATCH = 16
_THREADS = 8


class MicroBatcher(Generic[T, R]):
    """Calls from several threads that wait for each other anyway become one call of `compute`.

    Whoever gets the lock computes for all that wait, so one computation runs at a time and none waits idle.
    """

    def __init__(self, compute: Callable[[list[T]], Sequence[R]], *, most: int = _BATCH) -> None:
        self._compute = compute
        self._most = most
        self._waiting: list[tuple[T, Future[R]]] = []
        self._guard = threading.Lock()
        self._computing = threading.Lock()

    def __call__(self, item: T) -> R:
        future: Future[R] = Future()
        with self._guard:
            self._waiting.append((item, future))
        while not future.done():
            with self._computing:
                if not future.done():
                    self._run()
        return future.result()

    def _run(self) -> None:
        with self._guard:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            for (_, future), result in zip(batch, self._compute([item for item, _ in batch]), strict=True):
                future.set_result(result)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)


Encode = MicroBatcher[str, NDArray[np.float32]]


@dataclass(eq=False)
class _Collection:
    """One that is open, with the pipelines that were made for it, by whether they read."""

    store: PassageStore
    encode: Encode
    pipelines: dict[bool, Pipeline] = field(default_factory=dict)


class SearchService:
    """Searches and answers over named collections. Safe to use from any number of threads.

    The collaborators are built by `bootstrap`: `open_collection` gives a store and the encoder that it was built with,
    `make_reader` and `make_ranker` are called when first needed.
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
        silence_snapshots()
        self.settings = settings
        self._open_collection = open_collection
        self._make_reader = make_reader
        self._make_ranker = make_ranker
        self._describe = describe
        self._collections = collections or settings.collections
        self._close = close
        self._lock = threading.RLock()
        self._opened: dict[str, Future[_Collection]] = {}
        self._encoding: dict[str, Encode] = {}

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
        return self._run(question, collection, k, None, where)

    def answer(
        self, question: str, *, collection: str = "default", k: int = 10, top_k: int = 3, where: Filter | None = None
    ) -> SearchResult:
        """The k best passages and the `top_k` best answers marked in them."""
        return self._run(question, collection, k, top_k, where)

    def search_many(
        self, questions: Sequence[str], *, collection: str = "default", k: int = 10, where: Filter | None = None
    ) -> list[SearchResult]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda question: self._run(question, collection, k, None, where), questions))

    def answer_many(
        self,
        questions: Sequence[str],
        *,
        collection: str = "default",
        k: int = 10,
        top_k: int = 3,
        where: Filter | None = None,
    ) -> list[SearchResult]:
        """As `answer` for each; passages of several questions are read together."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda question: self._run(question, collection, k, top_k, where), questions))

    def store(self, collection: str = "default") -> PassageStore:
        """Raises IndexNotFound and its like."""
        return self._open(collection).store

    def collections(self) -> list[str]:
        return list(self._collections())

    @cached_property
    def reader(self) -> Reader:
        return self._make_reader()

    def info(self) -> dict[str, Any]:
        """Machine, models and collections, as `search-app info` shows them."""
        return self._describe()

    def close(self) -> None:
        with self._lock:
            for opening in self._opened.values():
                if opening.done():
                    opening.result().store.close()
            self._opened.clear()
        self._close()

    def _open(self, name: str) -> _Collection:
        with self._lock:
            opening = self._opened.get(name)
            mine = opening is None
            if opening is None:
                opening = self._opened[name] = Future()
        if mine:
            # Without the lock: a server that does not answer holds up nobody who asks another collection.
            try:
                store, encoder = self._open_collection(name)
                opening.set_result(_Collection(store, self._encode(encoder)))
            except BaseException as error:
                with self._lock:
                    self._opened.pop(name, None)
                opening.set_exception(error)
        return opening.result()

    def _forget(self, name: str, collection: _Collection) -> None:
        with self._lock:
            opening = self._opened.get(name)
            if opening is None or not opening.done() or opening.result() is not collection:
                return  # somebody else was quicker
            del self._opened[name]
        collection.store.close()

    def _encode(self, encoder: Encoder) -> Encode:
        """One for all collections of an encoder, so that their questions are encoded together."""
        with self._lock:
            return self._encoding.setdefault(
                encoder.stamp.digest, MicroBatcher(lambda texts: list(encoder.encode_queries(texts)))
            )

    def _run(self, question: str, name: str, k: int, top_k: int | None, where: Filter | None) -> SearchResult:
        self.settings.limits.check(question, k, top_k)
        collection = self._open(name)
        try:
            return self._ask(collection, question, k, top_k, where)
        except IndexMismatch:
            # Rebuilt with another encoder since it was opened.
            self._forget(name, collection)
            return self._ask(self._open(name), question, k, top_k, where)

    def _ask(
        self, collection: _Collection, question: str, k: int, top_k: int | None, where: Filter | None
    ) -> SearchResult:
        pipeline = self._pipeline(collection, reading=top_k is not None)
        inputs: dict[str, dict[str, Any]] = {
            "embedder": {"text": question},
            "retriever": {"query": question, "filters": where, "top_k": k},
            "fusion": {"top_k": k if top_k is None else max(k, self.settings.reader.passages)},
        }
        wanted = {"retriever", "ranker" if self._make_ranker else "fusion"}
        if self._make_ranker:
            inputs["ranker"] = {"query": question}
        if top_k is not None:
            inputs["reader"] = {"query": question, "top_k": top_k}
        start = time.perf_counter()
        with collect_timings() as timings:
            try:
                outputs = pipeline.run(inputs, include_outputs_from=wanted)
            except PipelineRuntimeError as error:
                cause: BaseException | None = error
                while cause is not None and not isinstance(cause, SearchAppError):
                    cause = cause.__cause__
                if cause is not None:
                    raise cause from error
                raise
        timings["total"] = time.perf_counter() - start
        rankings: Rankings = outputs["retriever"]["rankings"]
        documents = outputs["ranker" if self._make_ranker else "fusion"]["documents"]
        answers: list[MarkedAnswer] = outputs.get("reader", {}).get("answers", [])
        return SearchResult(
            question,
            tuple(to_hit(document) for document in documents[:k]),
            tuple(answer.answer for answer in answers if answer.answer is not None),
            timings,
            rankings.generation,
            rankings.degraded,
        )

    def _pipeline(self, collection: _Collection, *, reading: bool) -> Pipeline:
        with self._lock:
            if reading not in collection.pipelines:
                retrieval = self.settings.retrieval
                search = search_pipeline(
                    QueryEmbedder(collection.encode),
                    HybridRetriever(collection.store, retrieval),
                    RankFusion(retrieval),
                    PassageRanker(self._ranker, top=self.settings.ranker.top) if self._ranker else None,
                )
                if reading:
                    answer_pipeline(search, AnswerReader(self._read, passages=self.settings.reader.passages))
                collection.pipelines[reading] = search
            return collection.pipelines[reading]

    @cached_property
    def _ranker(self) -> Ranker | None:
        return self._make_ranker() if self._make_ranker else None

    @cached_property
    def _batched_read(self) -> MicroBatcher[tuple[str, Sequence[Hit], int], list[Answer]]:
        reader = self.reader

        def read(batch: list[tuple[str, Sequence[Hit], int]]) -> list[list[Answer]]:
            questions, hits, counts = zip(*batch, strict=True)
            answers = reader.read(questions, hits, top_k=max(counts))
            return [found[:count] for found, count in zip(answers, counts, strict=True)]

        return MicroBatcher(read)

    def _read(self, question: str, hits: Sequence[Hit], top_k: int) -> list[Answer]:
        with self._lock:
            batched = self._batched_read
        return batched((question, hits, top_k))
