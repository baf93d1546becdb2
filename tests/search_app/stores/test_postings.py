"""BM25 of our own against SQLite's FTS5, which defines the scores, and against the definition in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.stores.embedded.postings import Postings
from search_app.stores.text_analysis import hashed

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
    """The table that BM25 was defined by."""

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
    terms = [hashed(bag) for bag in bags]
    postings.add(
        np.array(rows, dtype=np.int64),
        np.array([len(bag) for bag in bags], dtype=np.int64),
        np.array([len(words) for words, _ in terms], dtype=np.int64),
        np.concatenate([np.zeros(0, np.uint64), *(words for words, _ in terms)]),
        np.concatenate([np.zeros(0, np.uint16), *(counts for _, counts in terms)]),
    )


def ask(postings: Postings, *questions: Bag, k: int, among: Any = None) -> list[list[tuple[int, float]]]:
    rows = None if among is None else np.array(sorted(among), dtype=np.int64)
    return postings.search([hashed(question)[0] for question in questions], k, among=rows)


def require_best(found: list[tuple[int, float]], scores: dict[int, float], k: int) -> None:
    """The best k of `scores`, best first, ties by row; equal to the precision of their sums."""
    assert len(found) == min(k, len(scores))
    assert dict(found) == pytest.approx({row: scores[row] for row, _ in found}, rel=1e-12, abs=0)
    assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
    if found and len(scores) > k:
        best = dict(found)
        assert max(score for row, score in scores.items() if row not in best) <= found[-1][1] * (1 + 1e-12)


def collection(count: int, *, seed: int, vocabulary: int = 300, longest: int = 40) -> list[list[str]]:
    """Words as frequent as in a language: the i-th as 1/i; the first is in most passages."""
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
