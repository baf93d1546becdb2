"""The contract of every store, compared with an exact store on the same data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ExactStore, HashEncoder, table_change

from search_app.errors import ConfigurationError, IndexBusy, IndexNotFound, InvalidQuery
from search_app.manifest import Manifest, encoded_text
from search_app.protocols import FileChange, FileRecord
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog
from search_app.stores.filters import parse_where
from search_app.stores.index import Catalog
from search_app.types import Document, Hit, Passage, PassageBatch

ENCODER = HashEncoder(dim=64)
MANIFEST = Manifest(ENCODER.stamp, "v1 64/8", "auto")
SUBJECTS = ["river", "engine", "treaty", "violin", "glacier", "market", "comet", "bridge", "parliament", "orchid"]
VERBS = ["crosses", "improves", "describes", "measures", "surrounds"]
PLACES = ["Vienna", "Osaka", "Lima", "Nairobi", "Bergen", "Perth", "Quebec"]


def change(
    number: int, *, text: str | None = None, language: str = "en", blind: bool = False, **meta: Any
) -> FileChange:
    """A file with one document and two passages; `blind` ones have no vector."""
    text = text or " ".join(
        f"The {SUBJECTS[(number + i) % 10]} {VERBS[(number * 3 + i) % 5]} {PLACES[(number * 7 + i * i) % 7]} {i}."
        for i in range(1 + number % 4)
    )
    record = FileRecord(f"/docs/{number}.txt", f"docs/{number}.txt", f"digest{number}-{hash(text)}", len(text), 1, 1)
    stated = {"size": len(text), "number": number, "format": "pdf" if number % 3 else "html", **meta}
    document = Document(f"doc{number}", f"Title {number}", text, record.source, stated, language)
    cut = len(text) // 2
    passages = tuple(
        Passage(f"p{number}-{start}-{hash(text)}", document.id, document.title, text[start:end], start, end,
                None, document.source, stated)
        for start, end in ((0, cut), (cut, len(text)))
    )  # fmt: skip
    embeddings = ENCODER.encode_passages([encoded_text(passage) for passage in passages])
    if blind:
        embeddings = np.full_like(embeddings, np.nan)
    return FileChange(record, (document,), PassageBatch(passages, embeddings))


class Collection:
    """Writer and reader of a store together, used as by two processes."""

    def __init__(self, catalog: Catalog, *, same_scores: bool) -> None:
        self.catalog = catalog
        self.same_scores = same_scores
        with catalog.writer("c", MANIFEST) as writer:
            writer.finish()
        self.reader = catalog.open("c")

    def write(self, changes: list[FileChange]) -> None:
        with self.catalog.writer("c", MANIFEST) as writer:
            assert writer.write(changes) == []
            writer.finish()
        self._look()

    def remove_files(self, paths: list[str]) -> None:
        with self.catalog.writer("c", MANIFEST) as writer:
            writer.remove_files(paths)
            writer.finish()
        self._look()

    def remove_documents(self, ids: list[str]) -> int:
        with self.catalog.writer("c", MANIFEST) as writer:
            removed = writer.remove_documents(ids)
            writer.finish()
        self._look()
        return removed

    def _look(self) -> None:
        """Read the generation now; otherwise the store asks Elasticsearch at most twice a second."""
        assert self.reader.generation

    def reopen(self) -> None:
        self.reader.close()
        self.reader = self.catalog.open("c")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


@contextmanager
def on_elasticsearch(request: pytest.FixtureRequest, vectors: str) -> Iterator[Collection]:
    address = request.getfixturevalue("elasticsearch")
    prefix = request.getfixturevalue("elasticsearch_prefix")
    reached = {"urls": address.urls, "username": address.username, "password": address.password, "ca": address.ca}
    settings = load_settings(store="elasticsearch", elasticsearch={**reached, "prefix": prefix, "vectors": vectors})
    with closing(open_catalog(settings)) as catalog:
        # Lucene rounds text lengths and computes idf differently: the same passages, other scores.
        yield Collection(catalog, same_scores=False)


COMPRESSED = {"index": "compressed", "lists": 4, "probes": 4}
BALLAST = 500
"""Number of files, with two passages each, needed to train a compressed index."""


@pytest.fixture(scope="module")
def laden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a collection whose compressed index was trained on other passages than the tests'."""
    home = tmp_path_factory.mktemp("laden")
    with closing(open_catalog(load_settings(home=home, vectors=COMPRESSED))) as catalog:
        made = Collection(catalog, same_scores=True)
        made.write([change(number, text=f"Ballast {number} of {number % 13}.") for number in range(BALLAST)])
        made.reader.close()
    return home


@contextmanager
def compressed(laden: Path, home: Path) -> Iterator[Collection]:
    """An empty collection whose reader still has the trained compressed index."""
    shutil.copytree(laden, home, dirs_exist_ok=True)
    with closing(open_catalog(load_settings(home=home, vectors=COMPRESSED))) as catalog:
        made = Collection(catalog, same_scores=True)
        assert len(made.search_dense(ENCODER.encode_queries(["ballast"]), k=2 * BALLAST)[0]) == 2 * BALLAST
        made.remove_files([record.path for record in made.files()])
        yield made
        made.reader.close()


@pytest.fixture(params=["flat", "compressed", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "elasticsearch":
        with on_elasticsearch(request, "flat") as made:
            yield made
        return
    if request.param == "compressed":
        with compressed(request.getfixturevalue("laden"), tmp_path) as made:
            yield made
        return
    with closing(open_catalog(load_settings(home=tmp_path))) as catalog:
        made = Collection(catalog, same_scores=True)
        yield made
        made.reader.close()


def test_the_compressed_variant_is_compressed(laden: Path, tmp_path: Path) -> None:
    from search_app.stores.vectors.compressed import CompressedIndex

    with compressed(laden, tmp_path) as store:
        fill(store, count=5)
        assert len(store.search_dense(ENCODER.encode_queries(["river"]), k=99)[0]) == 10
        assert isinstance(store.reader._derived.loaded_vectors, CompressedIndex)


@pytest.fixture
def exact() -> ExactStore:
    return ExactStore()


def fill(*stores: Any, count: int = 40) -> None:
    changes = [change(number) for number in range(count)]
    for target in stores:
        target.write(changes)


def same(found: list[list[Hit]], expected: list[list[Hit]]) -> None:
    """The same ids in the same order (except for equal scores), with equal, descending scores."""
    assert [len(hits) for hits in found] == [len(hits) for hits in expected]
    for ours, theirs in zip(found, expected, strict=True):
        scores = [hit.score for hit in ours]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, [hit.score for hit in theirs], rtol=1e-4, atol=1e-5)
        for score in {round(score, 4) for score in scores[:-1] if abs(score - scores[-1]) > 1e-3}:
            ids = {hit.passage.id for hit in ours if abs(hit.score - score) < 1e-3}
            assert ids == {hit.passage.id for hit in theirs if abs(hit.score - score) < 1e-3}
        by_id = {hit.passage.id: hit.passage for hit in theirs}
        assert all(hit.passage == by_id[hit.passage.id] for hit in ours if hit.passage.id in by_id)


def same_words(store: Any, found: list[list[Hit]], expected: list[list[Hit]]) -> None:
    """Like `same` if the store computes BM25 in the same way; otherwise the same passages with descending scores."""
    if store.same_scores:
        same(found, expected)
        return
    assert [{hit.passage.id for hit in hits} for hits in found] == [
        {hit.passage.id for hit in hits} for hits in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        scores = [hit.score for hit in ours]
        assert scores == sorted(scores, reverse=True)
        by_id = {hit.passage.id: hit.passage for hit in theirs}
        assert all(hit.passage == by_id[hit.passage.id] for hit in ours)


QUESTIONS = ["Which river crosses Vienna?", "glacier and comet", "Title 7", "engine improves Osaka 12"]


def test_dense_hits_equal_those_of_the_exact_store(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    vectors = ENCODER.encode_queries(QUESTIONS)
    same(store.search_dense(vectors, k=10), exact.search_dense(vectors, k=10))


def test_keyword_hits_equal_those_of_the_exact_store(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    same_words(store, store.search_keyword(QUESTIONS, k=200), exact.search_keyword(QUESTIONS, k=200))


def alone(number: int, sentence: str) -> FileChange:
    """A file of two passages, of which the first has the sentence."""
    return change(number, text=(sentence + " x" * len(sentence))[: 2 * len(sentence)])


def test_a_word_with_a_typing_mistake_finds_its_passage(store: Any) -> None:
    others = [alone(number, "The group of the canteen is here.") for number in range(3, 9)]
    store.write(
        [
            alone(1, "The optics group calibrates the spectrometer."),
            alone(2, "The spectators of the group are in the canteen."),
            *others,
        ]
    )
    for mistaken in ("spectrometter", "spectroometer", "spectrmoeter", "spcetrometer", "calibrats"):
        found = store.search_keyword([f"the {mistaken} of the group", "the spectators of the group"], k=4)
        assert [hits[0].passage.document_id for hits in found] == ["doc1", "doc2"], mistaken
    (hits,) = store.search_keyword(["the spectrometter"], k=4, where=parse_where("number = 2"))
    assert {hit.passage.document_id for hit in hits} == {"doc2"}
    assert store.search_keyword(["spctromtr spec"], k=3) == [[]]


def facts(number: int) -> dict[str, Any]:
    """Metadata of every type; some documents lack some fields."""
    found: dict[str, Any] = {
        "weight": number / 4,
        "modified": f"2024-02-{1 + number % 28:02}",
        "public": number % 2 == 0,
        "mixed": [number, str(number), number % 2 == 0],
    }
    if number in (4, 9):
        found["author"] = "Ada" if number == 4 else "Grace"
    if number % 5:
        found["tags"] = ["red", "green", "blue", "black"][: number % 5]
    return found


FILTERS = [
    "number < 3", "number >= 10 and number < 30", 'format = "pdf"', "format in [html, docx]", "not (number > 5)",
    "number = 7 or number = 8", "number not in [1, 2, 3]", "number > 1000", "author = Ada", "format != html",
    "author exists", "author missing", "not (author missing) or number < 2", "author exists and author != Ada",
    "weight < 2.5", "weight >= 3", "weight = 4", "number = 4.0", "weight > 1.75 and weight <= 5.25",
    "modified >= 2024-02-10", "modified < 2024-02-10 and modified > 2024-02-03", "modified = 2024-02-07",
    "tags = red", "tags in [blue, green]", "tags != red", "tags not in [red, blue]", "tags missing",
    "public = true", "public != true", "number = true", 'number = "7"', "tags > green",
    "mixed = 7", 'mixed = "7"', "mixed = true", "mixed >= 30", "mixed not in [7, true]",
]  # fmt: skip


def test_filters_apply_before_the_cut_to_k(store: Any, exact: ExactStore, subtests: pytest.Subtests) -> None:
    changes = [change(number, **facts(number)) for number in range(40)]
    for target in (store, exact):
        target.write(changes)
    vectors = ENCODER.encode_queries(QUESTIONS)
    for where in FILTERS:
        with subtests.test(where):
            condition = parse_where(where)
            for k in (1, 5, 500):
                found = store.search_dense(vectors, k=k, where=condition)
                same(found, exact.search_dense(vectors, k=k, where=condition))
            words = exact.search_keyword(QUESTIONS, k=500, where=condition)
            same_words(store, store.search_keyword(QUESTIONS, k=500, where=condition), words)
            matching = {hit.passage.id for hit in exact.search_dense(vectors[:1], k=500, where=condition)[0]}
            assert {passage.id for batch in store.passages(condition) for passage in batch.passages} == matching
            assert store.count_passages(condition) == len(matching)


def test_both_retrievers_read_the_same_generation(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    vectors = ENCODER.encode_queries(QUESTIONS)
    for ours, theirs in zip(
        store.search_both(QUESTIONS, vectors, k=200), exact.search_both(QUESTIONS, vectors, k=200), strict=True
    ):
        same([list(ours.dense)], [list(theirs.dense)])
        same_words(store, [list(ours.keyword)], [list(theirs.keyword)])
        assert ours.generation == store.generation


def test_an_empty_store_finds_nothing(store: Any) -> None:
    vectors = ENCODER.encode_queries(QUESTIONS)
    assert store.search_dense(vectors, k=5) == [[], [], [], []]
    assert store.search_keyword(QUESTIONS, k=5) == [[], [], [], []]
    assert store.search_dense(vectors, k=5, where=parse_where("number > 1")) == [[], [], [], []]
    assert store.counts() == {"files": 0, "documents": 0, "passages": 0, "vectors": 0}


def test_asking_for_more_hits_than_passages_gives_all_passages(store: Any) -> None:
    fill(store, count=3)
    (hits,) = store.search_dense(ENCODER.encode_queries(["river"]), k=10**6)
    assert len(hits) == store.counts()["passages"] == 6


def test_a_removed_file_disappears_from_both_retrievers_at_once(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    vectors = ENCODER.encode_queries(QUESTIONS)
    store.search_dense(vectors, k=5)
    for target in (store, exact):
        target.remove_files(["/docs/3.txt", "/docs/7.txt", "/docs/unknown.txt"])
    same(store.search_dense(vectors, k=200), exact.search_dense(vectors, k=200))
    same_words(store, store.search_keyword(QUESTIONS, k=200), exact.search_keyword(QUESTIONS, k=200))
    assert store.document("doc3") is None
    assert store.counts()["documents"] == 38


def test_a_changed_file_replaces_its_passages(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    vectors = ENCODER.encode_queries(["a zeppelin over Trieste"])
    store.search_dense(vectors, k=5)
    for target in (store, exact):
        target.write([change(5, text="A zeppelin floats over Trieste and lands there.")])
    same(store.search_dense(vectors, k=200), exact.search_dense(vectors, k=200))
    (hits,) = store.search_keyword(["zeppelin"], k=5)
    assert [hit.passage.document_id for hit in hits] == ["doc5"]
    assert store.document("doc5").text == "A zeppelin floats over Trieste and lands there."


def test_removed_documents_disappear_everywhere_in_one_generation(store: Any, exact: ExactStore) -> None:
    fill(store, exact)
    vectors = ENCODER.encode_queries(QUESTIONS)
    store.search_both(QUESTIONS, vectors, k=5)
    before = store.generation
    ids = ["doc3", "doc7", "doc20", "doc7", "unknown"]
    assert store.remove_documents(ids) == exact.remove_documents(ids) == 3
    assert store.generation == before + 1
    where = parse_where("number < 30")
    for ours, theirs in zip(
        store.search_both(QUESTIONS, vectors, k=500), exact.search_both(QUESTIONS, vectors, k=500), strict=True
    ):
        same([list(ours.dense)], [list(theirs.dense)])
        same_words(store, [list(ours.keyword)], [list(theirs.keyword)])
        assert ours.generation == before + 1
    same(store.search_dense(vectors, k=500, where=where), exact.search_dense(vectors, k=500, where=where))
    assert store.document("doc7") is None
    assert {"doc3", "doc7", "doc20"}.isdisjoint(document.id for document in store.documents(limit=100))
    counts = store.counts()
    assert (counts["files"], counts["documents"], counts["passages"]) == (40, 37, 74)
    assert sum(len(batch.passages) for batch in store.passages()) == 74


def test_the_record_of_a_file_stays_when_its_documents_are_removed(store: Any) -> None:
    fill(store, count=3)
    records = {record.path: record for record in store.files()}
    store.remove_documents(["doc1"])
    left = {record.path: record for record in store.files()}
    assert left["/docs/1.txt"] == replace(records["/docs/1.txt"], documents=0)
    assert left["/docs/0.txt"] == records["/docs/0.txt"]
    store.write([change(1)])
    assert {record.path: record for record in store.files()} == records
    assert store.document("doc1") is not None


def test_removing_unknown_documents_changes_nothing(store: Any) -> None:
    fill(store, count=3)
    assert store.remove_documents(["unknown"]) == 0
    assert store.remove_documents([]) == 0
    assert store.counts()["documents"] == 3


def test_a_shared_vector_stays_until_its_last_passage_is_removed(store: Any) -> None:
    twins = [change(number, text="The same words stand in both. And these do, too.", size=1) for number in (1, 2)]
    twins = [
        replace(item, batch=replace(item.batch, passages=tuple(replace(p, title="T") for p in item.batch.passages)))
        for item in twins
    ]
    vectors = ENCODER.encode_passages([encoded_text(passage) for passage in twins[0].batch.passages])
    store.write([replace(item, batch=replace(item.batch, embeddings=vectors)) for item in twins])
    (both,) = store.search_dense(vectors[:1], k=2)
    assert [hit.score for hit in both] == pytest.approx([1.0, 1.0], abs=1e-5)
    store.remove_documents(["doc1"])
    (left,) = store.search_dense(vectors[:1], k=4)
    assert [hit.passage.document_id for hit in left] == ["doc2", "doc2"]
    assert left[0].score == pytest.approx(1.0, abs=1e-5)
    store.reopen()
    assert store.search_dense(vectors[:1], k=4) == [left]


def test_an_open_reader_sees_a_document_change(store: Any) -> None:
    fill(store, count=6)
    vectors = ENCODER.encode_queries(["a zeppelin over Trieste", "river"])
    seen = store.generation
    assert store.search_keyword(["zeppelin"], k=5) == [[]]
    for round, city in enumerate(["Trieste", "Graz", "Split"], start=1):
        store.write([change(2, text=f"A zeppelin floats over {city}. It lands there {round} times.", edition=round)])
        (both, _) = store.search_both(["zeppelin", "river"], vectors, k=50)
        assert both.generation == seen + round
        assert {hit.passage.document_id for hit in both.keyword} == {"doc2"}
        ours = [hit.passage for hit in both.dense if hit.passage.document_id == "doc2"]
        assert sorted(passage.start for passage in ours) == [0, len(store.document("doc2").text) // 2]
        assert all(passage.meta["edition"] == round for passage in ours)
        assert len(both.dense) == 12
        where = parse_where(f"edition = {round}")
        assert [len(hits) for hits in store.search_dense(vectors, k=50, where=where)] == [2, 2]
        assert store.search_dense(vectors, k=50, where=parse_where(f"edition < {round}")) == [[], []]


def test_passages_without_a_vector_are_found_by_keywords_only(store: Any, exact: ExactStore) -> None:
    changes = [change(number, blind=number % 3 == 0) for number in range(20)]
    for target in (store, exact):
        target.write(changes)
    vectors = ENCODER.encode_queries(QUESTIONS)
    blind = {f"doc{number}" for number in range(0, 20, 3)}
    dense = store.search_dense(vectors, k=500)
    same(dense, exact.search_dense(vectors, k=500))
    assert blind.isdisjoint(hit.passage.document_id for hit in dense[0])
    keyword = store.search_keyword(QUESTIONS, k=500)
    same_words(store, keyword, exact.search_keyword(QUESTIONS, k=500))
    assert blind <= {hit.passage.document_id for hits in keyword for hit in hits}
    assert store.search_dense(vectors, k=5, where=parse_where("number = 3")) == [[], [], [], []]
    counts = store.counts()
    assert (counts["passages"], counts["vectors"]) == (40, 26)
    store.write([change(3)])
    assert len(store.search_dense(vectors[:1], k=5, where=parse_where("number = 3"))[0]) == 2


@pytest.mark.parametrize("k", [1, 3, 7, 10_000])
def test_a_filtered_search_gives_every_matching_passage(store: Any, k: int) -> None:
    fill(store, count=60)
    vectors = ENCODER.encode_queries(QUESTIONS)
    for where, documents in [("number = 59", 1), ("number in [1, 2, 58]", 3), ("number >= 3", 57), ("number > 59", 0)]:
        for hits in store.search_dense(vectors, k=k, where=parse_where(where)):
            assert len(hits) == min(k, 2 * documents)
            assert len({hit.passage.id for hit in hits}) == len(hits)


def test_reopening_changes_nothing(store: Any) -> None:
    fill(store)
    vectors = ENCODER.encode_queries(QUESTIONS)
    before = store.search_both(QUESTIONS, vectors, k=20)
    store.reopen()
    assert store.search_both(QUESTIONS, vectors, k=20) == before


def test_a_document_is_read_back_unchanged(store: Any) -> None:
    written = change(2, text="Grüße aus Köln 🚀 – 東京\n\nsecond")
    store.write([written])
    assert store.document("doc2") == written.documents[0]
    assert store.documents(limit=10)[0].id == "doc2"
    assert store.documents(limit=10, offset=1) == []


def test_tables_places_and_edits_are_read_back_unchanged(store: Any) -> None:
    written = table_change(ENCODER)
    passages = {passage.id: passage for passage in written.batch.passages}
    assert [bool(passage.edits) for passage in passages.values()] == [True, True]
    store.write([written, change(2)])
    assert store.document("doc1") == written.documents[0]
    assert store.document("doc2").tables == ()
    vectors = ENCODER.encode_queries(["Which allowance has Portugal?"])
    (found,) = store.search_both(["allowance Portugal"], vectors, k=10)
    for hits in (found.dense, found.keyword):
        ours = {hit.passage.id: hit.passage for hit in hits if hit.passage.document_id == "doc1"}
        assert ours == passages
    read = {passage.id: passage for batch in store.passages(vectors=True) for passage in batch.passages}
    assert {id: read[id] for id in passages} == passages
    assert read["p2-0-" + str(hash(change(2).documents[0].text))].edits == ()
    assert store.catalog.verify("c") == []


def long_document(number: int, *, passages: int = 30, size: int = 40, overlap: int = 10) -> FileChange:
    """Passages of `size` characters; each begins with the last `overlap` characters of the one before."""
    text = "".join(f"{position:05}" for position in range(0, (size - overlap) * passages + overlap, 5))
    record = FileRecord(f"/docs/long{number}.txt", f"docs/long{number}.txt", f"long{number}", len(text), 1, 1)
    document = Document(f"long{number}", "Long", text, record.source, {"number": number}, "en")
    made = tuple(
        Passage(f"l{number}-{start}", document.id, "Long", text[start : start + size], start, start + size, None,
                record.source, document.meta)
        for start in range(0, (size - overlap) * passages, size - overlap)
    )  # fmt: skip
    # From the last to the first: the order comes from the store.
    embeddings = ENCODER.encode_passages([encoded_text(passage) for passage in made[::-1]])
    return FileChange(record, (document,), PassageBatch(made[::-1], embeddings))


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 30), (0, 31), (35, 36), (40, 70), (500, 10_000), (910, None)]
)
def test_the_passages_of_a_document_come_in_order(store: Any, exact: ExactStore, start: int, end: int | None) -> None:
    for target in (store, exact):
        target.write([long_document(1), long_document(2, passages=5), table_change(ENCODER, 3)])
    for limit in (1, 3, 100):
        found = store.passages_of("long1", limit=limit, start=start, end=end)
        assert found == exact.passages_of("long1", limit=limit, start=start, end=end)
    assert store.passages_of("doc3", limit=9) == list(table_change(ENCODER, 3).batch.passages)
    assert store.passages_of("unknown", limit=9) == []


def test_all_passages_of_a_document_are_read_part_by_part(store: Any) -> None:
    store.write([long_document(1), long_document(2)])
    found, start = [], 0
    while part := store.passages_of("long1", limit=7, start=start):
        found += part
        start = part[-1].end
    assert found == list(long_document(1).batch.passages[::-1])


def test_the_words_of_a_header_find_a_later_piece_of_its_table(store: Any, exact: ExactStore) -> None:
    for target in (store, exact):
        target.write([table_change(ENCODER), *(change(number) for number in range(2, 6))])
    questions = ["allowance", "Österreich daily allowance", "country"]
    found = store.search_keyword(questions, k=10)
    same_words(store, found, exact.search_keyword(questions, k=10))
    assert {hit.passage.start for hit in found[0]} == {0, table_change(ENCODER).batch.passages[1].start}
    assert found[1][0].passage.start > 0


def test_a_filter_on_an_unknown_field_is_refused_and_lists_the_fields(store: Any) -> None:
    fill(store, count=2)
    with pytest.raises(InvalidQuery, match=r"no document has the field 'colour'.*format, number, size"):
        store.search_keyword(["river"], k=5, where=parse_where("colour = red"))


def test_query_syntax_in_a_question_is_plain_text(store: Any) -> None:
    fill(store, count=5)
    questions = ['river" OR title:*', "NEAR(river AND)", "???", "'; DROP TABLE passages; --", "-river ^ + *", "\x00"]
    results = store.search_keyword(questions, k=5)
    assert results[0]
    assert results[2] == results[5] == []


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "vectors", ["hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw", "int8_flat", "int4_flat", "bbq_flat"]
)
def test_approximate_vectors_reach_a_recall_of_ninety_percent(
    request: pytest.FixtureRequest, exact: ExactStore, vectors: str
) -> None:
    with on_elasticsearch(request, vectors) as store:
        fill(store, exact, count=200)
        asked = ENCODER.encode_queries(QUESTIONS)
        found, expected = store.search_dense(asked, k=10), exact.search_dense(asked, k=10)
        for ours, theirs in zip(found, expected, strict=True):
            # Equal scores may come in any order.
            worst = theirs[-1].score - 1e-4
            assert sum(hit.score >= worst for hit in ours) >= 9
            assert len(ours) == 10
        where = parse_where("number < 20 and format = html")
        for ours, theirs in zip(
            store.search_dense(asked, k=10, where=where), exact.search_dense(asked, k=10, where=where), strict=True
        ):
            assert len(ours) == 10
            assert {hit.passage.id for hit in ours} <= {
                hit.passage.id for hit in exact.search_dense(asked, k=400, where=where)[0]
            }
            assert sum(hit.score >= theirs[-1].score - 1e-4 for hit in ours) >= 9


PARAGRAPHS = {
    "de": ("Die Kündigungsfristen betragen drei Monate zum Quartalsende.", "Wie lang ist die Kündigungsfrist?"),
    "fr": ("Les chevaux sauvages traversent la rivière au printemps.", "Quel cheval traverse une rivière ?"),
    "ru": ("Учёные измерили температуру ледников в горах Кавказа.", "Какова температура ледника?"),
    "ar": ("تقع المكتبات العامة في وسط المدينة القديمة.", "أين المكتبة؟"),
    "zh": ("北京大学的图书馆收藏了很多古代书籍。", "图书馆在哪里"),
    "ja": ("東京都の図書館には江戸時代の地図が保存されている。", "江戸の地図はどこにありますか"),
}


@pytest.mark.parametrize("language", PARAGRAPHS)
def test_a_question_finds_inflected_forms_in_its_language(store: Any, language: str) -> None:
    everything = [
        change(number, text=text, language=code) for number, (code, (text, _)) in enumerate(PARAGRAPHS.items())
    ]
    store.write(everything)
    (hits,) = store.search_keyword([PARAGRAPHS[language][1]], k=5)
    assert hits[0].passage.document_id == f"doc{list(PARAGRAPHS).index(language)}"


# --- drop and rename


def test_a_dropped_collection_is_gone_and_its_name_is_free(store: Any) -> None:
    fill(store, count=3)
    store.catalog.drop("c")
    assert store.catalog.names() == []
    for call in (
        lambda: store.catalog.drop("c"),
        lambda: store.search_keyword(["river"], k=1),
        lambda: store.catalog.open("c").counts(),
    ):
        with pytest.raises(IndexNotFound):
            call()
    store.write([change(7)])
    store.reopen()
    assert store.counts()["documents"] == 1


def test_a_renamed_collection_answers_as_before_under_the_new_name_only(store: Any) -> None:
    fill(store, count=5)
    vectors, generation = ENCODER.encode_queries(QUESTIONS), store.generation
    before, files = store.search_both(QUESTIONS, vectors, k=5), list(store.files())
    store.catalog.rename("c", "Other")
    assert store.catalog.names() == ["Other"]
    with pytest.raises(IndexNotFound):
        store.catalog.open("c").counts()
    with closing(store.catalog.open("Other")) as renamed:
        assert renamed.search_both(QUESTIONS, vectors, k=5) == before
        assert (renamed.generation, list(renamed.files())) == (generation, files)
    assert store.catalog.verify("Other") == []
    with store.catalog.writer("Other", MANIFEST) as writer:
        writer.write([change(7)])
        writer.finish()
    with closing(store.catalog.open("Other")) as renamed:
        assert (renamed.counts()["documents"], renamed.generation > generation) == (6, True)
    store.catalog.rename("Other", "c")
    store.reopen()
    assert store.counts()["documents"] == 6


def test_a_renamed_collection_can_still_be_rolled_back(store: Any) -> None:
    fill(store, count=2)
    with store.catalog.writer("c", MANIFEST, rebuild=True) as writer:
        writer.write([change(9)])
        writer.finish()
    store.catalog.rename("c", "other")
    store.catalog.rollback("other")
    with closing(store.catalog.open("other")) as renamed:
        assert renamed.counts()["documents"] == 2


def test_a_reader_follows_the_name_to_a_new_collection(store: Any) -> None:
    fill(store, count=3)
    store.catalog.rename("c", "old")
    store.write([change(8)])
    assert {hit.passage.document_id for hit in store.search_dense(ENCODER.encode_queries(["x"]), k=9)[0]} == {"doc8"}


def test_drop_and_rename_refuse_what_they_cannot_do_and_change_nothing(store: Any) -> None:
    fill(store, count=1)
    catalog = store.catalog
    with catalog.writer("taken", MANIFEST) as writer:
        writer.finish()
    for call in (lambda: catalog.drop("none"), lambda: catalog.rename("none", "new")):
        with pytest.raises(IndexNotFound, match="'none'"):
            call()
    for new, message in (("taken", "'taken' already exists"), ("c", "'c' already exists"), ("../x", "collection name")):
        with pytest.raises(ConfigurationError, match=message):
            catalog.rename("c", new)
    with catalog.writer("c", MANIFEST):
        for call in (lambda: catalog.drop("c"), lambda: catalog.rename("c", "new")):
            with pytest.raises(IndexBusy, match="writing to collection 'c'"):
                call()
    with catalog.writer("new", MANIFEST, rebuild=True), pytest.raises(IndexBusy, match="writing to collection 'new'"):
        catalog.rename("c", "new")
    assert catalog.names() == ["c", "taken"]
    assert store.counts()["documents"] == 1
