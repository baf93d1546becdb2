from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_app.errors import ModelUnavailable
from search_app.readers.scoring import FEATURES, FILE, AnswerScorer, Logistic
from search_app.types import SpanCandidate


def _candidates() -> list[SpanCandidate]:
    return [
        SpanCandidate("a", 0, 5, 0, 6.0, 1.0),
        SpanCandidate("a", 3, 9, 0, 5.0, 1.0),
        SpanCandidate("b", 0, 4, 1, 7.0, 6.5),
    ]


def test_answers_are_ranked_by_logits_without_calibration() -> None:
    ranked = AnswerScorer().rank(_candidates(), [0.9, 0.1])
    assert [(one.candidate.document_id, one.candidate.start) if one.candidate else None for one in ranked] == [
        ("b", 0),
        None,
        ("a", 0),
    ]
    assert [one.score for one in ranked] == pytest.approx([7.0, 6.5, 6.0])
    assert all(one.confidence is None for one in ranked)


def test_null_logits_and_retrieval_scores_count_by_their_weights() -> None:
    ranked = AnswerScorer(null_weight=1.0, retrieval_weight=2.0, no_answer=6.0).rank(_candidates(), [0.9, 0.1])
    assert [one.score for one in ranked] == pytest.approx([7.8, 6.8, 0.7])
    assert [one.candidate.document_id if one.candidate else None for one in ranked] == [None, "a", "b"]


def test_features_compare_an_answer_with_its_rivals() -> None:
    first, none, second = AnswerScorer().rank(_candidates(), [0.9, 0.1])
    assert first.features["margin"] == pytest.approx(1.0)
    assert second.features["margin"] == pytest.approx(-1.0)
    assert first.features["share"] + second.features["share"] == pytest.approx(1.0)
    assert first.features["above_null"] == pytest.approx(0.5)
    assert second.features["retrieval"] == pytest.approx(0.9)
    assert none.features == first.features


def test_without_candidates_there_is_no_answer() -> None:
    assert AnswerScorer().rank([], []) == []


def test_probabilities_stay_between_zero_and_one_for_any_score() -> None:
    logistic = Logistic(("logit",), (1.0,), 0.0)
    assert logistic.probability({"logit": 0.0}) == 0.5
    assert logistic.probability({"logit": 1e9}) == 1.0
    assert logistic.probability({"logit": -1e9}) == 0.0


def test_a_scorer_survives_its_file(tmp_path: Path) -> None:
    calibrator = Logistic(FEATURES, (0.1, 0.2, 0.3, 0.4, 0.5), -1.0)
    scorer = AnswerScorer(0.5, 2.0, -1.5, calibrator, None, {"files": ["x"]})
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
