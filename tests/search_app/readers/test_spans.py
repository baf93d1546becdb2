from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.readers.spans import best_spans, distinct, null_logit
from search_app.types import SpanCandidate

LOGITS = st.lists(st.integers(-50, 50), min_size=1, max_size=24)


@given(starts=LOGITS, seed=st.integers(0, 2**16), width=st.integers(1, 30), n=st.integers(1, 12), data=st.data())
def test_the_band_has_the_same_best_spans_as_the_whole_matrix(
    starts: list[int], seed: int, width: int, n: int, data: st.DataObject
) -> None:
    size = len(starts)
    ends = np.random.default_rng(seed).integers(-50, 50, size).astype(np.float32)
    begin = np.array(starts, dtype=np.float32)
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first + 1, size))
    places = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=last - first, max_size=last - first)))
    place = dict(enumerate(places.tolist(), first))
    every = sorted(
        (
            float(begin[i] + ends[j])
            for i in range(first, last)
            for j in range(i, min(last, i + width))
            if place[i] == place[j] >= 0
        ),
        reverse=True,
    )
    found = best_spans(begin, ends, places, first=first, max_answer_tokens=width, n=n)
    assert [span.logit for span in found] == every[:n]
    assert len({(span.start, span.end) for span in found}) == len(found)
    for span in found:
        assert first <= span.start <= span.end < last
        assert place[span.start] == place[span.end] >= 0
        assert span.end - span.start < width
        assert span.logit == begin[span.start] + ends[span.end]


def test_a_window_without_text_has_no_spans() -> None:
    zeros = np.zeros(5, np.float32)
    assert best_spans(zeros, zeros, np.empty(0, np.int64), first=5, max_answer_tokens=30, n=3) == []


def test_the_null_logit_is_that_of_the_first_token() -> None:
    assert null_logit(np.array([1.5, 9], np.float32), np.array([2.0, 9], np.float32)) == 3.5


def _candidate(document: str, start: int, end: int) -> SpanCandidate:
    return SpanCandidate(document, start, end, 0, 0.0, 0.0)


def test_of_overlapping_candidates_in_one_document_only_the_best_is_kept() -> None:
    candidates = [
        _candidate("a", 0, 10),
        _candidate("a", 5, 12),
        _candidate("a", 12, 14),
        _candidate("b", 0, 10),
        _candidate("a", 0, 10),
    ]
    scores = np.array([1.0, 3.0, 2.0, 0.5, 2.5], dtype=np.float32)
    assert distinct(candidates, scores) == [1, 2, 3]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 6), st.integers(-5, 5)), max_size=30)
)
def test_distinct_candidates_never_overlap_and_no_better_one_is_dropped(rows: list[tuple[str, int, int, int]]) -> None:
    candidates = [_candidate(document, start, start + length) for document, start, length, _ in rows]
    scores = np.array([score for *_, score in rows], dtype=np.float32)
    kept = distinct(candidates, scores)

    def overlap(i: int, j: int) -> bool:
        a, b = candidates[i], candidates[j]
        return a.document_id == b.document_id and a.start < b.end and b.start < a.end

    assert [scores[i] for i in kept] == sorted((scores[i] for i in kept), reverse=True)
    assert not any(overlap(i, j) for i in kept for j in kept if i != j)
    for i in set(range(len(candidates))) - set(kept):
        assert any(overlap(i, j) and scores[j] >= scores[i] for j in kept)


def test_the_same_text_in_two_documents_is_one_answer() -> None:
    candidates = [
        SpanCandidate("a", 0, 5, 0, 1.0, 0.0, "lima"),
        SpanCandidate("b", 7, 11, 1, 3.0, 0.0, "lima"),
        SpanCandidate("c", 0, 3, 2, 2.0, 0.0, "ulm"),
    ]
    assert distinct(candidates, np.array([1.0, 3.0, 2.0], np.float32)) == [1, 2]


@pytest.mark.parametrize(
    ("better", "other", "merged"),
    [
        ("ruiz", "dr. ruiz", True),
        ("the old port", "old port.", True),
        ("10 kg", "10", True),
        ("eur 46", "eur 460", False),
        ("1", "1.5 million", False),
    ],
)
def test_answers_that_contain_each_other_are_one(better: str, other: str, merged: bool) -> None:
    candidates = [SpanCandidate("a", 0, 9, 0, 3.0, 0.0, better), SpanCandidate("b", 0, 9, 1, 1.0, 0.0, other)]
    assert distinct(candidates, np.array([3.0, 1.0], np.float32)) == ([0] if merged else [0, 1])
