"""BM25 compared with SQLite's FTS5 and with a definition in plain Python."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.stores.embedded.postings import Postings
from search_app.text.analysis import hash_terms

Bag = Sequence[str]
VOCABULARY = [f"w{i}" for i in range(12)]
BAGS = st.lists(st.sampled_from(VOCABULARY), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(BAGS, min_size=1, max_size=6)),
        st.tuples(st.just("remove"), st.lists(st.integers(1, 40), max_size=8)),
        st.tuples(st.just("keep"), st.none()),
    ),
    min_size=1,
    max_size=8,
)


class Fts5:
    """The reference: an FTS5 table."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE terms USING fts5(title, body, content='', contentless_delete=1, tokenize='ascii')"
        )

    def add(self, row: int, bag: Bag) -> None:
        title, body = " ".join(bag[:2]), " ".join(bag[2:])
        self._db.execute("INSERT INTO terms(rowid, title, body) VALUES (?, ?, ?)", (row, title, body))

    def remove(self, row: int) -> None:
        self._db.execute("DELETE FROM terms WHERE rowid = ?", (row,))

    def scores(self, question: Bag) -> dict[int, float]:
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(question))
        return dict(self._db.execute("SELECT rowid, -rank FROM terms WHERE terms MATCH ?", (match,))) if match else {}


def add(postings: Postings, rows: Sequence[int], bags: Sequence[Bag]) -> None:
    terms = [hash_terms(bag) for bag in bags]
    postings.add(
        np.array(rows, dtype=np.int64),
        np.array([len(bag) for bag in bags], dtype=np.int64),
        np.array([len(words) for words, _ in terms], dtype=np.int64),
        np.concatenate([np.zeros(0, np.uint64), *(words for words, _ in terms)]),
        np.concatenate([np.zeros(0, np.uint16), *(counts for _, counts in terms)]),
    )


def ask(postings: Postings, *questions: Bag, k: int, among: Any = None) -> list[list[tuple[int, float]]]:
    rows = None if among is None else np.array(sorted(among), dtype=np.int64)
    return postings.search([hash_terms(question)[0] for question in questions], k, among=rows)


def require_best(found: list[tuple[int, float]], scores: dict[int, float], k: int) -> None:
    """Requires the best k of `scores`, best first, ties by row, up to rounding of sums."""
    assert len(found) == min(k, len(scores))
    assert dict(found) == pytest.approx({row: scores[row] for row, _ in found}, rel=1e-12, abs=0)
    assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
    if found and len(scores) > k:
        best = dict(found)
        assert max(score for row, score in scores.items() if row not in best) <= found[-1][1] * (1 + 1e-12)


def collection(count: int, *, seed: int, vocabulary: int = 300, longest: int = 40) -> list[list[str]]:
    """Words with frequencies as in a language: 1/i for the i-th."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, vocabulary + 1)
    lengths = random.integers(0, longest, count)
    drawn = random.choice(vocabulary, int(lengths.sum()), p=shares / shares.sum())
    return [[f"w{i}" for i in bag] for bag in np.split(drawn, np.cumsum(lengths)[:-1])]


@settings(max_examples=300, deadline=None)
@given(STEPS, st.lists(BAGS, min_size=1, max_size=3), st.integers(1, 12))
def test_scores_are_those_of_fts5_after_any_adds_and_removals(steps: Any, questions: list[Bag], k: int) -> None:
    postings, fts5, newest = Postings(), Fts5(), 0
    there: set[int] = set()
    for step, what in steps:
        if step == "add":
            rows = range(newest + 1, newest + 1 + len(what))
            add(postings, rows, what)
            for row, bag in zip(rows, what, strict=True):
                fts5.add(row, bag)
            newest += len(what)
            there.update(rows)
        elif step == "remove":
            postings.remove(np.unique(np.array(what, dtype=np.int64)))
            for row in there & set(what):
                fts5.remove(row)
            there -= set(what)
        else:
            postings = Postings(postings.to_arrays())
        assert len(postings) == len(there)
        for question, found in zip(questions, ask(postings, *questions, k=k), strict=True):
            require_best(found, fts5.scores(question), k)


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_changing_collection_has_the_scores_of_fts5(seed: int) -> None:
    random = np.random.default_rng(seed)
    postings, fts5 = Postings(), Fts5()
    bags = collection(3000, seed=seed)
    questions = [[f"w{i}" for i in random.integers(0, 320, size)] for size in (1, 2, 5, 12, 40)]
    there: list[int] = []
    for start in range(0, len(bags), 500):
        rows = [10 * row + 5 for row in range(start, start + 500)]
        add(postings, rows, bags[start : start + 500])
        for row in rows:
            fts5.add(row, bags[row // 10])
        there += rows
        gone = random.choice(there, 90, replace=False)
        postings.remove(np.sort(gone))
        for row in gone.tolist():
            fts5.remove(row)
        there = sorted(set(there) - set(gone.tolist()))
        among = set(random.choice(there, len(there) // 3, replace=False).tolist()) | {1, 2, 10**15}
        for question in questions:
            scores = fts5.scores(question)
            require_best(ask(postings, question, k=20)[0], scores, 20)
            allowed = {row: score for row, score in scores.items() if row in among}
            require_best(ask(postings, question, k=20, among=among)[0], allowed, 20)


def by_definition(bags: Mapping[int, Bag], question: Bag, *, k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
    average = sum(map(len, bags.values())) / len(bags)
    counted = {row: Counter(bag) for row, bag in bags.items()}
    scores: dict[int, float] = {}
    for word in set(question):
        found = {row: counts[word] for row, counts in counted.items() if word in counts}
        idf = max(1e-6, math.log((len(bags) - len(found) + 0.5) / (len(found) + 0.5)))
        for row, count in found.items():
            norm = k1 * (1 - b + b * len(bags[row]) / average)
            scores[row] = scores.get(row, 0.0) + idf * count * (k1 + 1) / (count + norm)
    return scores


@pytest.mark.parametrize("step", [1, 3, 2**49], ids=["without gaps", "with gaps", "up to 2**61"])
def test_a_filter_applies_before_the_cut_and_changes_no_score(step: int) -> None:
    count = 4000
    rows = [1 + step * i for i in range(count)]
    bags = dict(zip(rows, collection(count, seed=4), strict=True))
    postings = Postings()
    add(postings, rows, list(bags.values()))
    random = np.random.default_rng(5)
    for question in (["w0"], ["w0", "w1", "w2"], ["w3", "w40", "w150"], ["w299", "w0"], [f"w{i}" for i in range(50)]):
        scores = by_definition(bags, question)
        for share in (0.0, 0.0005, 0.003, 0.01, 0.03, 0.1, 0.3, 0.9, 1.0):
            among = set(random.choice(rows, int(count * share), replace=False).tolist())
            allowed = {row: score for row, score in scores.items() if row in among}
            for k in (1, 10, 300):
                require_best(ask(postings, question, k=k, among=among | {0, 2**62})[0], allowed, k)


@pytest.mark.parametrize(("k1", "b"), [(0, 0), (0, 1), (0.6, 0.3), (1.2, 0), (2, 1), (10, 0.75)])
def test_scores_follow_k1_and_b_independent_of_the_cached_arrays(k1: float, b: float) -> None:
    bags = dict(enumerate(collection(2000, seed=7), start=1))
    default = Postings()
    add(default, list(bags), list(bags.values()))
    postings = Postings(default.to_arrays(), k1=k1, b=b)
    for question in (["w3"], ["w0", "w9", "w40"], [f"w{i}" for i in range(0, 200, 7)]):
        (found,) = ask(postings, question, k=15)
        require_best(found, by_definition(bags, question, k1=k1, b=b), 15)
        if (k1, b) != (1.2, 0.75):
            assert dict(found) != dict(ask(default, question, k=15)[0])


def test_equal_passages_are_in_row_order() -> None:
    postings = Postings()
    for start in (0, 3000, 5000):  # also across what was added apart
        rows = range(start, start + 1000)
        add(postings, rows, [["word", "other", "more"] if row % 2 else ["else", "here", "more"] for row in rows])
    odd = [row for row in itertools.chain(range(1000), range(3000, 4000), range(5000, 6000)) if row % 2]
    (found,) = ask(postings, ["word", "other", "more"], k=1200)
    assert [row for row, _ in found] == odd[:1200]
    assert len({score for _, score in found}) == 1


def test_restored_postings_give_identical_scores() -> None:
    bags = collection(3000, seed=6)
    pieces, whole = Postings(), Postings()
    for start in range(0, 3000, 300):
        add(pieces, range(start, start + 300), bags[start : start + 300])
    add(whole, range(3000), bags)
    for postings in (pieces, whole):
        postings.remove(np.arange(100, 400, dtype=np.int64))
    questions = [[f"w{i}", f"w{i * 7 % 300}", "w0"] for i in range(30)]
    before = ask(pieces, *questions, k=25)
    arrays = {name: array.copy() for name, array in pieces.to_arrays().items()}
    for array in arrays.values():
        array.flags.writeable = False  # as those of a memory map
    restored = Postings(arrays)
    for postings in (restored, whole, pieces):
        assert ask(postings, *questions, k=25) == before
    for postings in (restored, pieces):  # and goes on from there
        add(postings, range(5000, 5050), bags[:50])
        postings.remove(np.array([500, 5001], dtype=np.int64))
    assert ask(restored, *questions, k=25) == ask(pieces, *questions, k=25)


def test_no_words_unknown_words_and_an_empty_collection_find_nothing() -> None:
    postings = Postings()
    assert ask(postings, ["a"], [], k=5) == [[], []]
    assert ask(Postings(postings.to_arrays()), ["a"], k=5) == [[]]
    add(postings, [], [])
    add(postings, [1, 2, 3], [["a", "b"], [], ["a"]])
    assert len(postings) == 3
    assert ask(postings, [], ["zebra"], k=5) == [[], []]
    assert ask(postings, ["a"], k=0) == [[]]
    assert ask(postings, ["a"], k=5, among=[]) == [[]]
    assert [row for row, _ in ask(postings, ["a", "zebra"], k=5)[0]] == [3, 1]
    postings.remove(np.array([1, 2, 3, 4]))
    assert ask(postings, ["a"], k=5) == [[]]
    assert len(postings) == 0
    add(postings, [9], [["b"]])
    assert [row for row, _ in ask(postings, ["a", "b"], k=5)[0]] == [9]


def test_a_word_of_most_passages_still_finds_them() -> None:
    bags = dict(enumerate([["the", "cat"], ["the", "dog"], ["the"], ["fish"]]))
    postings = Postings()
    add(postings, list(bags), list(bags.values()))
    (found,) = ask(postings, ["the"], k=10)
    require_best(found, by_definition(bags, ["the"]), 10)
    assert len(found) == 3
    assert all(0 < score < 1e-5 for _, score in found)


def test_a_thousand_words_in_a_question() -> None:
    bags = dict(enumerate(collection(1500, seed=7, vocabulary=3000)))
    postings = Postings()
    add(postings, list(bags), list(bags.values()))
    question = [f"w{i}" for i in range(0, 3000, 3)]
    require_best(ask(postings, question, k=50)[0], by_definition(bags, question), 50)


def test_a_count_beyond_16_bits_is_clipped() -> None:
    words, counts = hash_terms(["a"] * 70_000 + ["b"])
    assert sorted(counts.tolist()) == [1, 65_535]
    assert words.tolist() == sorted(words.tolist())
    postings = Postings()
    add(postings, [1, 2], [["a"] * 70_000 + ["b"], ["c"]])
    ((row, score),) = ask(postings, ["a"], k=2)[0]
    assert row == 1
    assert 0 < score < 3e-6


def test_common_words_are_only_looked_up_for_candidates() -> None:
    count = 20_000
    bags = collection(count, seed=8, vocabulary=1000)
    postings = Postings()
    add(postings, range(count), bags)
    lists = Counter(itertools.chain.from_iterable(set(bag) for bag in bags))
    for asked in (["w900", "w0"], ["w500", "w700", "w0", "w1", "w2", "w3"], ["w20", "w400", "w0", "w1"]):
        before = postings.touched
        ask(postings, asked, k=10)
        assert postings.touched - before < 0.3 * sum(lists[word] for word in asked)


def test_the_hash_is_part_of_the_format() -> None:
    words, counts = hash_terms(["river", "of", "river", "\ud800"])
    assert words.dtype == np.uint64
    assert counts.dtype == np.uint16
    assert dict(zip(words.tolist(), counts.tolist(), strict=True)) == {
        7497787021708494914: 1,
        10614527950604959422: 1,
        11485444849268923030: 2,
    }
