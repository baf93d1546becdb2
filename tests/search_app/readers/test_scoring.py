from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_app.errors import ModelUnavailable
from search_app.readers.scoring import FEATURES, FILE, AnswerScorer, Logistic, Promise, comparable
from search_app.types import Hit, Passage, SpanCandidate

HITS = [0.9, 0.1]


def _candidates() -> list[SpanCandidate]:
    return [
        SpanCandidate("a", 0, 5, 0, 6.0, 1.0),
        SpanCandidate("a", 3, 9, 0, 5.0, 1.0),
        SpanCandidate("b", 0, 4, 1, 7.0, 6.5),
    ]


def test_answers_are_ranked_by_logits_without_calibration() -> None:
    ranked = AnswerScorer().rank(_candidates(), HITS)
    assert [(one.candidate.document_id, one.candidate.start) if one.candidate else None for one in ranked] == [
        ("b", 0),
        None,
        ("a", 0),
    ]
    assert [one.score for one in ranked] == pytest.approx([7.0, 6.5, 6.0])
    assert all(one.confidence is None for one in ranked)


def test_null_logits_and_retrieval_scores_count_by_their_weights() -> None:
    ranked = AnswerScorer(null_weight=1.0, retrieval_weight=2.0, no_answer=6.0).rank(_candidates(), HITS)
    assert [one.score for one in ranked] == pytest.approx([7.8, 6.8, 0.7])
    assert [one.candidate.document_id if one.candidate else None for one in ranked] == [None, "a", "b"]


def test_features_compare_an_answer_with_its_rivals() -> None:
    first, none, second = AnswerScorer().rank(_candidates(), HITS)
    assert first.features["margin"] == pytest.approx(1.0)
    assert second.features["margin"] == pytest.approx(-1.0)
    assert first.features["share"] + second.features["share"] == pytest.approx(1.0)
    assert first.features["above_null"] == pytest.approx(0.5)
    assert second.features["retrieval"] == pytest.approx(0.9)
    assert none.features == first.features


def test_features_tell_how_well_question_and_passage_match() -> None:
    candidates = [
        SpanCandidate("a", 0, 5, 0, 6.0, 1.0, "lima", "where"),
        SpanCandidate("b", 0, 4, 1, 5.0, 1.0, "lima", "where"),
        SpanCandidate("b", 9, 20, 1, 4.0, 1.0, "the old town", "where"),
    ]
    first, second, _ = AnswerScorer().rank(candidates, HITS)
    assert first.features["agreement"] == pytest.approx(0.693, abs=0.001)
    assert second.features["agreement"] == 0
    assert second.features["length"] == pytest.approx(1.386, abs=0.001)
    assert (first.features["asks_where"], first.features["asks_who"]) == (1, 0)


PROMISES = (Promise(0.9, 0.05), Promise(0.7, 0.12), Promise(0.5, 0.3), Promise(0.4, 0.28))


@pytest.mark.parametrize(("max_wrong", "confidence"), [(0.05, 0.9), (0.2, 0.7), (0.29, 0.7), (0.3, 0.4), (1, 0)])
def test_the_promise_decides_which_confidence_is_reliable(max_wrong: float, confidence: float) -> None:
    assert AnswerScorer(promises=PROMISES).promising(max_wrong).reliable_from == confidence


def test_answers_below_the_promised_confidence_are_not_reliable() -> None:
    calibrator = Logistic(("above_null",), (1.0,), -1.0)
    scorer = AnswerScorer(no_answer=-9.0, answer=calibrator, promises=PROMISES).promising(0.2)
    hits = [Hit(Passage(id, id, "", "Lima in Peru", 0, 12), 0.5) for id in "ab"]
    answers = [answer for answer in scorer.answers(_candidates(), hits, top_k=3) if answer.span]
    assert [(round(answer.confidence or 0, 2), answer.reliable) for answer in answers] == [(0.38, False), (0.98, True)]


def test_without_a_promise_only_no_answer_makes_the_answers_after_it_unreliable() -> None:
    hits = [Hit(Passage(id, id, "", "Lima in Peru", 0, 12), 0.5) for id in "ab"]
    answers = AnswerScorer().answers(_candidates(), hits, top_k=3)
    assert [(bool(answer.span), answer.reliable) for answer in answers] == [(True, True), (False, False), (True, False)]


def test_if_the_calibration_cannot_keep_the_promise_nothing_is_reliable(caplog: pytest.LogCaptureFixture) -> None:
    assert AnswerScorer(promises=PROMISES).promising(0.02).reliable_from > 1
    assert "no answer of this reader keeps reader.max_wrong 2%; the least it can promise is 5%" in caplog.text


def test_without_candidates_there_is_no_answer() -> None:
    assert AnswerScorer().rank([], []) == []


def test_probabilities_stay_between_zero_and_one_for_any_score() -> None:
    logistic = Logistic(("logit",), (1.0,), 0.0)
    assert logistic.probability({"logit": 0.0}) == 0.5
    assert logistic.probability({"logit": 1e9}) == 1.0
    assert logistic.probability({"logit": -1e9}) == 0.0


def test_a_scorer_survives_its_file(tmp_path: Path) -> None:
    calibrator = Logistic(FEATURES[:3], (0.1, 0.2, 0.3), -1.0)
    scorer = AnswerScorer(0.5, 2.0, -1.5, calibrator, None, (Promise(0.9, 0.1),), {"files": ["x"]})
    (tmp_path / FILE).write_text(scorer.to_json())
    assert AnswerScorer.load(tmp_path) == scorer


def test_a_folder_without_calibration_gets_the_defaults(tmp_path: Path) -> None:
    assert AnswerScorer.load(tmp_path) == AnswerScorer()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        json.dumps(
            {
                "null_weight": 0,
                "retrieval_weight": 0,
                "no_answer": 0,
                "answer": {"features": ["colour"], "weights": [1], "bias": 0},
            }
        ),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ModelUnavailable, match=r"reader\.json"):
        AnswerScorer.load(tmp_path)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([1.0, 0.6, 0.0], [1.0, 0.6, 0.0]),
        ([0.65, 0.2], [0.65, 0.2]),
        ([22.0, 12.0, 2.0], [1.0, 0.5, 0.0]),
        ([3.0, -1.0, -5.0], [1.0, 0.5, 0.0]),
        ([0.032, 0.016], [1.0, 0.0]),
        ([0.0], [1.0]),
        ([], []),
    ],
)
def test_scores_of_any_retriever_are_put_on_the_scale_of_the_calibration(
    found: list[float], wanted: list[float]
) -> None:
    assert comparable(found) == pytest.approx(wanted)


def test_the_scale_of_the_retrieval_does_not_change_the_confidence() -> None:
    calibrator = Logistic(("logit", "retrieval"), (0.5, 2.0), -3.0)
    scorer = AnswerScorer(retrieval_weight=4.0, answer=calibrator)
    candidates = _candidates()
    bm25, unit = (scorer.rank(candidates, scores) for scores in ([30.0, 10.0], [1.0, 0.0]))
    assert [one.confidence for one in bm25] == [one.confidence for one in unit]
