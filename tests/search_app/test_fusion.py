from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.fusion import best, fuse
from search_app.settings import RetrievalSettings
from search_app.types import Hit, Passage, Rankings

WEIGHTED, RRF = RetrievalSettings(method="weighted", dense_weight=0.4), RetrievalSettings(method="rrf")


def ranking(name: str, *scored: tuple[str, float]) -> list[Hit]:
    return [Hit(Passage(id, "d", "", id, 0, len(id)), score, {name: score}) for id, score in scored]


DENSE = ranking("dense", ("a", 0.9), ("b", 0.5), ("c", 0.1))
KEYWORD = ranking("bm25", ("b", 20.0), ("d", 10.0))


def test_weighted_scores_are_scaled_within_each_ranking() -> None:
    fused = fuse(DENSE, KEYWORD, WEIGHTED, k=10)
    assert [(hit.passage.id, pytest.approx(hit.score)) for hit in fused] == [
        ("b", 0.4 * 0.5 + 0.6), ("a", 0.4), ("c", 0.0), ("d", 0.0),
    ]  # fmt: skip


def test_reciprocal_ranks_ignore_scores() -> None:
    assert [hit.passage.id for hit in fuse(DENSE, KEYWORD, RRF, k=2)] == ["b", "a"]


def test_each_hit_keeps_the_scores_of_the_retrievers_that_found_it() -> None:
    found = {hit.passage.id: hit.scores for hit in fuse(DENSE, KEYWORD, WEIGHTED, k=10)}
    assert found == {"a": {"dense": 0.9}, "b": {"dense": 0.5, "bm25": 20.0}, "c": {"dense": 0.1}, "d": {"bm25": 10.0}}


@pytest.mark.parametrize("settings", [WEIGHTED, RRF])
def test_one_empty_ranking_leaves_the_order_of_the_other(settings: RetrievalSettings) -> None:
    assert [hit.passage.id for hit in fuse(DENSE, [], settings, k=10)] == ["a", "b", "c"]
    assert [hit.passage.id for hit in fuse([], KEYWORD, settings, k=1)] == ["b"]
    assert fuse([], [], settings, k=3) == []


RANKINGS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.floats(-10, 10)), max_size=8, unique_by=lambda pair: pair[0]
).map(lambda pairs: sorted(pairs, key=lambda pair: -pair[1]))


@given(RANKINGS, RANKINGS, st.sampled_from([WEIGHTED, RRF]), st.integers(1, 10))
def test_fusion_returns_the_best_k_of_the_union_in_order(
    dense: list[tuple[str, float]], keyword: list[tuple[str, float]], settings: RetrievalSettings, k: int
) -> None:
    fused = fuse(ranking("dense", *dense), ranking("bm25", *keyword), settings, k=k)
    union = {id for id, _ in dense} | {id for id, _ in keyword}
    assert len(fused) == min(k, len(union)) == len({hit.passage.id for hit in fused})
    scores = [hit.score for hit in fused]
    assert scores == sorted(scores, reverse=True)


def rankings(*texts: str) -> Rankings:
    found = [Hit(Passage(text, text, "", text, 0, len(text), None, f"docs/{number}-a.txt"), -number, {"bm25": 1.0})
             for number, text in enumerate(texts)]  # fmt: skip
    return Rankings(found, found, 1)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("2.3.1", "It is new in 2.3.1."), ("C++", "We use C++ here"), ("E-2091", "an E-2091 error"),
        ('where is "boiler  restart"', "the Boiler\nrestart lamp"), ("2-a.txt", "the third file"),
        ("What is new in 2.3.1?", "in 2.3.1.4 and 12.3.1"), ("boiler restart", "in 2.3.1.4 and 12.3.1"),
    ],
)  # fmt: skip
def test_passages_with_the_exact_text_come_first(question: str, first: str) -> None:
    texts = ("in 2.3.1.4 and 12.3.1", "restart the boiler", "the third file", "C class goods", "an E-20911 error",
             "It is new in 2.3.1.", "We use C++ here", "an E-2091 error", "the Boiler\nrestart lamp")  # fmt: skip
    assert best(question, rankings(*texts), WEIGHTED, k=3)[0].passage.text == first
