from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import ExactStore, FirstWordReader, HashEncoder

from search_app.batching import MicroBatcher
from search_app.errors import BackendUnavailable, IndexMismatch, IndexNotFound, InvalidQuery
from search_app.manifest import encoded_text
from search_app.protocols import Encoder, FileChange, FileRecord
from search_app.service import SearchService
from search_app.settings import CacheSettings, RankerSettings, RetrievalSettings, Settings
from search_app.stores.filters import parse_where
from search_app.types import Document, Filter, Hit, Passage, PassageBatch, Rankings, Span

ENCODER = HashEncoder()
FACTS = {
    "geo": ["The Danube crosses Vienna.", "Lima lies on the coast of Peru.", "Bergen is rainy."],
    "law": ["The treaty was signed in Lima.", "A notice period is three months."],
}


class ReverseRanker:
    def rank(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        return [
            [Hit(hit.passage, float(-i), {**hit.scores, "ranker": float(-i)}) for i, hit in enumerate(reversed(found))]
            for found in hits
        ]


def store_of(texts: Sequence[str]) -> ExactStore:
    store = ExactStore()
    for number, text in enumerate(texts):
        add(store, number, text)
    return store


def add(store: ExactStore, number: int, text: str) -> None:
    document = Document(f"d{number}", "", text, f"{number}.txt", {"number": number})
    passages = (Passage(f"p{number}", document.id, "", text, 0, len(text), None, document.source, document.meta),)
    batch = PassageBatch(passages, ENCODER.encode_passages([encoded_text(passages[0])]))
    store.write([FileChange(FileRecord(f"/{number}", f"{number}.txt", "x", 1, 1, 1), (document,), batch)])


class Bench:
    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.reader = FirstWordReader()
        self.opened: list[str] = []
        made = Settings(home=tmp_path, **settings)
        ranker = ReverseRanker if made.ranker.model else None
        self.service = SearchService(made, self.open, lambda: self.reader, ranker)

    def open(self, collection: str) -> tuple[Any, Encoder]:
        self.opened.append(collection)
        if collection not in FACTS:
            raise IndexNotFound(collection)
        return store_of(FACTS[collection]), ENCODER


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.service.close()


def test_an_answer_is_marked_in_the_best_passage(bench: Bench) -> None:
    result = bench.service.answer("Which river crosses Vienna?", collection="geo")
    assert result.hits[0].passage.text == FACTS["geo"][0]
    assert set(result.hits[0].scores) == {"dense", "bm25"}
    best = result.answers[0]
    assert (best.text, best.span) == ("The", Span(0, 3))
    assert set(result.timings) == {"encode", "retrieve", "fuse", "read", "total"}
    assert result.generation == 3


def test_a_warm_service_has_used_its_models(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.service.warm_up()  # no collection yet
    assert bench.reader.calls == []
    monkeypatch.setattr(bench.service, "collections", lambda: ["broken", "geo", "law"])
    bench.service.warm_up()
    assert (bench.opened, bench.reader.calls) == (["broken", "geo"], [1])


def test_a_search_does_not_call_the_reader(bench: Bench) -> None:
    result = bench.service.search("Vienna", collection="geo", k=2)
    assert len(result.hits) == 2
    assert result.answers == ()
    assert bench.reader.calls == []


@pytest.mark.parametrize("query", ["Vienna", '"crosses Vienna"', "d0.txt", "???"])
def test_a_keyword_query_gets_passages_and_no_answer(bench: Bench, query: str) -> None:
    result = bench.service.answer(query, collection="geo")
    assert (len(result.hits), result.answers, bench.reader.calls) == (3, (), [])


def test_k_is_filled_with_different_texts_although_candidates_are_copies(tmp_path: Path) -> None:
    store = store_of(["The Danube crosses Vienna."] * 30 + ["Vienna is a city.", "Lima is a city."])
    settings = Settings(home=tmp_path, retrieval=RetrievalSettings(candidates=5))
    with SearchService(settings, lambda _: (store, ENCODER), FirstWordReader) as service:
        found = service.search("Which river crosses Vienna?", k=3).hits
    assert [len(hit.also) for hit in found] == [29, 0, 0]
    assert len({hit.passage.text for hit in found}) == 3


def test_a_question_to_one_collection_never_sees_another(bench: Bench) -> None:
    for collection, texts in FACTS.items():
        result = bench.service.answer("Where is Lima?", collection=collection, k=50)
        assert {hit.passage.text for hit in result.hits} == set(texts)
    assert sorted(bench.opened) == ["geo", "law"]


def test_k_limits_the_hits_but_not_the_passages_read(bench: Bench) -> None:
    result = bench.service.answer("Where is Lima?", collection="geo", k=1, top_k=3)
    assert len(result.hits) == 1
    assert len(result.answers) == 3


def test_a_filter_reaches_both_retrievers(bench: Bench) -> None:
    where: Filter = parse_where("number >= 1")
    result = bench.service.search("The Danube crosses Vienna", collection="geo", where=where)
    assert [hit.passage.id for hit in result.hits if hit.passage.id == "p0"] == []
    assert len(result.hits) == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"question": ""}, "question"), ({"question": " \n"}, "question"), ({"question": "x" * 100_000}, "question"),
        ({"k": 0}, "k"), ({"k": 10**6}, "k"), ({"k": -1}, "k"), ({"top_k": 0}, "top_k"),
    ],
)  # fmt: skip
def test_a_request_outside_the_limits_is_refused_by_field(bench: Bench, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        bench.service.answer(**{"question": "Lima", "collection": "geo", **arguments})
    assert caught.value.field == field


@pytest.mark.parametrize("question", ["?", "x", "维也纳在哪里？", "\x00", "🚀"])
def test_a_question_of_one_character_has_a_result(bench: Bench, question: str) -> None:
    assert len(bench.service.answer(question, collection="geo").hits) == 3


def test_errors_of_the_store_reach_the_caller(bench: Bench) -> None:
    with pytest.raises(IndexNotFound):
        bench.service.search("Lima", collection="nowhere")

    def fail(*args: Any, **kwargs: Any) -> list[Rankings]:
        raise BackendUnavailable("the server is down")

    bench.service.store("geo").search_both = fail  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="down"):
        bench.service.search("Lima", collection="geo")


def test_a_ranker_reorders_the_hits(tmp_path: Path) -> None:
    plain = Bench(tmp_path).service.search("Lima Peru coast", collection="geo")
    bench = Bench(tmp_path, ranker=RankerSettings(model="any"))
    ranked = bench.service.search("Lima Peru coast", collection="geo")
    assert [hit.passage.id for hit in ranked.hits] == [hit.passage.id for hit in plain.hits][::-1]
    assert "ranker" in ranked.hits[0].scores
    assert "rank" in ranked.timings
    assert bench.service.answer("Where is Lima?", collection="geo").answers


def test_the_fusion_method_is_a_setting(tmp_path: Path) -> None:
    bench = Bench(tmp_path, retrieval=RetrievalSettings(method="rrf"))
    assert bench.service.search("Lima", collection="geo").hits[0].passage.text == FACTS["geo"][1]


def test_many_questions_give_the_same_results_as_one_by_one(bench: Bench) -> None:
    questions = ["Vienna", "Lima", "Bergen rain", "Peru"] * 5
    many = bench.service.answer_many(questions, collection="geo", k=2, top_k=1)
    for question, result in zip(questions, many, strict=True):
        alone = bench.service.answer(question, collection="geo", k=2, top_k=1)
        assert (result.question, result.hits, result.answers) == (question, alone.hits, alone.answers)


def test_waiting_calls_are_computed_in_one_batch_at_a_time() -> None:
    running, most, batches = 0, 0, []

    def square(numbers: list[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        batches.append(len(numbers))
        time.sleep(0.01)
        running -= 1
        return [number * number for number in numbers]

    batcher: MicroBatcher[int, int] = MicroBatcher(square, max_items=8)
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(batcher, range(100))) == [number * number for number in range(100)]
    assert most == 1
    assert max(batches) <= 8
    assert len(batches) < 60


def test_a_failed_batch_fails_only_its_own_callers() -> None:
    def refuse_odd(numbers: list[int]) -> list[int]:
        if any(number % 2 for number in numbers):
            raise InvalidQuery("odd")
        return numbers

    batcher: MicroBatcher[int, int] = MicroBatcher(refuse_odd, max_items=1)
    outcomes: dict[int, str] = {}

    def call(number: int) -> None:
        try:
            outcomes[number] = str(batcher(number))
        except InvalidQuery as error:
            outcomes[number] = error.message

    threads = [threading.Thread(target=call, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {number: "odd" if number % 2 else str(number) for number in range(10)}


class Opening:
    """Stores of `FACTS` whose opening waits to be let go, or fails."""

    def __init__(self, tmp_path: Path) -> None:
        self.calls: list[str] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.error: BackendUnavailable | None = None
        self.service = SearchService(Settings(home=tmp_path), self.open, FirstWordReader)

    def open(self, collection: str) -> tuple[Any, Encoder]:
        self.calls.append(collection)
        if collection == "geo":
            self.begun.release()
            assert self.go.wait(30)
            if self.error:
                raise self.error
        return store_of(FACTS[collection]), ENCODER


def test_a_slow_collection_is_opened_once_and_does_not_delay_others(tmp_path: Path) -> None:
    bench = Opening(tmp_path)
    with bench.service, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(bench.service.search, "Lima", collection="geo") for _ in range(3)]
        assert bench.begun.acquire(timeout=30)
        assert bench.service.search("Lima", collection="law").hits
        assert not any(future.done() for future in waiting)
        bench.go.set()
        assert all(future.result(30).hits for future in waiting)
    assert sorted(bench.calls) == ["geo", "law"]


class Rebuilt(ExactStore):
    """Refuses vectors, as a store does once its index holds those of another encoder."""

    closed = False

    def search_both(self, *arguments: Any, **named: Any) -> list[Rankings]:
        raise IndexMismatch("encoder: the index was built with another")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("times", [1, 2])
def test_a_collection_is_reopened_after_its_encoder_changed(tmp_path: Path, times: int) -> None:
    opened: list[ExactStore] = []

    def open_collection(name: str) -> tuple[Any, Encoder]:
        opened.append(Rebuilt() if len(opened) < times else store_of(FACTS[name]))
        return opened[-1], ENCODER

    with SearchService(Settings(home=tmp_path), open_collection, FirstWordReader) as service:
        if times == 1:
            assert service.search("Lima", collection="geo").hits
        else:
            with pytest.raises(IndexMismatch):
                service.search("Lima", collection="geo")
        assert getattr(opened[0], "closed", None) is True
    assert len(opened) == 2


def test_a_failed_opening_is_tried_again(tmp_path: Path) -> None:
    bench = Opening(tmp_path)
    bench.error = BackendUnavailable("the server is down")
    bench.go.set()
    with bench.service:
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="the server is down"):
                bench.service.search("Lima", collection="geo")
        bench.error = None
        assert bench.service.search("Lima", collection="geo").hits
    assert bench.calls == ["geo"] * 3


class CountingEncoder(HashEncoder):
    """Counts the texts that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[str] = []

    def encode_queries(self, texts: Sequence[str]) -> Any:
        self.encoded += texts
        return super().encode_queries(texts)


def cached_service(tmp_path: Path, **cache: int) -> tuple[SearchService, ExactStore, CountingEncoder, FirstWordReader]:
    store, encoder, reader = store_of(FACTS["geo"]), CountingEncoder(), FirstWordReader()
    settings = Settings(home=tmp_path, cache=CacheSettings(**cache))
    return SearchService(settings, lambda name: (store, encoder), lambda: reader), store, encoder, reader


def test_a_query_vector_is_computed_once(tmp_path: Path) -> None:
    service, _, encoder, _ = cached_service(tmp_path)
    first, second = service.search("Vienna"), service.search("Vienna", k=1)
    assert first.hits[:1] == second.hits
    assert encoder.encoded == ["Vienna"]
    assert service.info()["cache"]["query vectors"]["hits"] == 1


def test_a_cache_of_size_zero_keeps_nothing(tmp_path: Path) -> None:
    service, _, encoder, _ = cached_service(tmp_path, query_vectors_mb=0)
    assert service.search("Vienna").hits == service.search("Vienna").hits
    assert encoder.encoded == ["Vienna"] * 2


def test_a_cached_answer_is_read_once_until_the_index_changes(tmp_path: Path) -> None:
    service, store, _, reader = cached_service(tmp_path, answers_mb=1)
    first = service.answer("Which river crosses Vienna?")
    assert service.answer("Which river crosses Vienna?") is first
    for other in ({"k": 2}, {"top_k": 1}, {"where": parse_where("number >= 1")}):
        service.answer("Which river crosses Vienna?", **other)  # type: ignore[arg-type]
    assert len(reader.calls) == 4
    add(store, 9, "The Danube crosses Vienna and Budapest.")
    assert "p9" in {hit.passage.id for hit in service.answer("Which river crosses Vienna?").hits}


def test_an_answer_from_a_replica_is_not_cached(tmp_path: Path) -> None:
    service, store, _, reader = cached_service(tmp_path, answers_mb=1)
    search = store.search_both
    store.search_both = lambda *a, **b: [replace(found, degraded=True) for found in search(*a, **b)]  # type: ignore[method-assign]
    assert service.answer("Where is Vienna?").degraded
    service.answer("Where is Vienna?")
    assert len(reader.calls) == 2
