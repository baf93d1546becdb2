from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from checkpoints import make_checkpoint

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.evaluation.evaluate import (
    evaluate_answers,
    evaluate_reader,
    evaluate_retrieval,
    paragraph_id,
    sample,
)
from search_app.evaluation.results import QuestionResult
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.scoring import FILE, AnswerScorer
from search_app.settings import ReaderSettings
from search_app.types import Answer, Hit, Passage, Span

VIENNA, OSAKA = "The treaty was signed in Vienna.", "The library stands in Osaka."


def _dataset(*, impossible: bool = False) -> Dataset:
    first = [Question("1", "Where was it signed?", (GoldAnswer("Vienna", 25),))]
    if impossible:
        first.append(Question("2", "Who signed it?", ()))
    second = [Question("3", "Where does it stand?", (GoldAnswer("in Osaka", 19), GoldAnswer("Osaka", 22)))]
    return Dataset("d", (Article("", (Paragraph(VIENNA, tuple(first)), Paragraph(OSAKA, tuple(second)))),))


def _answer(text: str, confidence: float | None = None, *, reliable: bool = True) -> Answer:
    return Answer(text, Span(0, len(text)) if text else None, 1.0, confidence, None, reliable)


def _hit(document: str, start: int = 0) -> Hit:
    return Hit(Passage(f"{document}-{start}", document, "", "text", start, start + 4), 1.0)


class _Scripted:
    """A reader with a fixed answer for each passage."""

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        self._answers = answers

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        return [self._answers[found[0].passage.text][:top_k] for found in hits]


def test_a_reader_is_scored_on_the_gold_paragraph_and_no_answer_is_skipped() -> None:
    reader = _Scripted({VIENNA: [_answer(""), _answer("Vienna")], OSAKA: [_answer("stands in Osaka")]})
    seen: list[tuple[int, int]] = []
    found = evaluate_reader(reader, _dataset(), progress=lambda done, total: seen.append((done, total)))
    assert (found["questions"], found["em"]) == (2, 50)
    assert found["f1"] == pytest.approx(100 * (1 + 0.8) / 2)
    assert seen == [(2, 2)]


def test_no_answer_counts_where_it_can_be_right_and_both_kinds_are_reported() -> None:
    reader = _Scripted({VIENNA: [_answer(""), _answer("Vienna")], OSAKA: [_answer("Osaka")]})
    found = evaluate_reader(reader, _dataset(impossible=True))
    assert found["em"] == pytest.approx(200 / 3)
    assert found["no_answer_em"] == 100
    assert (found["has_answer_em"], found["has_answer_questions"]) == (50, 2)


@pytest.mark.parametrize(("threshold", "predictions"), [(-1000.0, {""}), (1000.0, {"answered"})])
def test_the_readers_own_threshold_decides_about_no_answer(
    threshold: float, predictions: set[str], tmp_path: Path
) -> None:
    folder = make_checkpoint("bert", tmp_path / "reader", reader=True)
    (folder / FILE).write_text(AnswerScorer(no_answer=-threshold).to_json())
    reader = ExtractiveReader(ReaderSettings(model=str(folder)), Hardware("test", 1, frozenset(), "cpu", "float32"))
    seen: list[QuestionResult] = []
    found = evaluate_reader(reader, _dataset(impossible=True), record=seen.append)
    assert {item.prediction and "answered" for item in seen} == predictions
    assert found["no_answer_em"] == (0 if threshold > 0 else 100)


def test_documents_count_once_at_the_rank_of_their_best_passage() -> None:
    fill = [_hit("other", start) for start in range(0, 80, 4)]
    ranking = {
        "Where was it signed?": [*fill, _hit(VIENNA)],
        "Where does it stand?": [_hit(OSAKA), _hit(VIENNA)],
    }
    found = evaluate_retrieval(
        lambda questions: [ranking[question] for question in questions],
        _dataset(),
        document_key=lambda hit: hit.passage.document_id,
    )
    assert (found["success@1"], found["success@10"], found["mrr@10"]) == (0.5, 1.0, 0.75)


def test_a_document_at_rank_eleven_counts_as_not_found() -> None:
    found = evaluate_retrieval(
        lambda questions: [[*(_hit(f"other {i}") for i in range(10)), _hit(VIENNA), _hit(OSAKA)] for _ in questions],
        _dataset(),
        document_key=lambda hit: hit.passage.document_id,
    )
    assert (found["success@10"], found["mrr@10"]) == (0, 0)


def test_hits_with_equal_scores_keep_their_order() -> None:
    found = evaluate_retrieval(
        lambda questions: [[_hit("zzz"), _hit(VIENNA), _hit(OSAKA)] for _ in questions],
        _dataset(),
        document_key=lambda hit: hit.passage.document_id,
    )
    assert found["mrr@10"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_answers_are_scored_with_their_confidence() -> None:
    script = {
        "Where was it signed?": [_answer("", reliable=False), _answer("Vienna", 0.9, reliable=False)],
        "Who signed it?": [_answer("Ann", 0.2)],
        "Where does it stand?": [_answer("Osaka", 0.7)],
    }
    found, calibration = evaluate_answers(
        lambda questions: [script[question] for question in questions], _dataset(impossible=True)
    )
    assert (found["questions"], found["em"]) == (3, pytest.approx(100 / 3))
    assert (found["has_answer_questions"], found["has_answer_em"], found["no_answer_em"]) == (2, 50, 0)
    assert found["no_answer_rate"] == pytest.approx(1 / 3)
    assert calibration is not None
    assert calibration.brier == found["brier"] == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    assert found["aurc"] == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_only_reliable_answers_count_as_shown() -> None:
    script = {
        "Where was it signed?": [_answer("Lima", 0.3, reliable=False), _answer("Vienna", 0.9)],
        "Who signed it?": [_answer("Ann", 0.2)],
        "Where does it stand?": [_answer("Osaka", 0.7, reliable=False)],
    }
    seen: list[QuestionResult] = []
    found, _ = evaluate_answers(
        lambda questions: [script[question] for question in questions], _dataset(impossible=True), record=seen.append
    )
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["wrong_among_shown"] == 0.5
    assert found["answered_unanswerable"] == 1
    assert [(item.shown, item.scores["coverage"]) for item in seen] == [(True, 1), (True, 1), (False, 0)]


def test_without_shown_answers_none_of_them_is_wrong() -> None:
    found, _ = evaluate_answers(
        lambda questions: [[_answer("Lima", 0.3, reliable=False)] for _ in questions], _dataset()
    )
    assert found["coverage"] == 0
    assert not {"wrong_among_shown", "answered_unanswerable"} & found.keys()


def test_without_confidence_there_is_no_calibration() -> None:
    found, calibration = evaluate_answers(lambda questions: [[_answer("Vienna")] for _ in questions], _dataset())
    assert found["em"] == 50
    assert calibration is None


def test_a_question_without_any_answer_scores_zero() -> None:
    found, _ = evaluate_answers(lambda questions: [[] for _ in questions], _dataset())
    assert (found["em"], found["f1"], found["no_answer_rate"]) == (0, 0, 0)


def test_each_question_has_its_own_result() -> None:
    seen: list[QuestionResult] = []
    reader = _Scripted({VIENNA: [_answer(""), _answer("Vienna", 0.9)], OSAKA: [_answer("stands in Osaka", 0.4)]})
    evaluate_reader(reader, _dataset(), record=seen.append)
    assert [(item.id, item.prediction, item.confidence, item.scores["em"]) for item in seen] == [
        ("1", "Vienna", 0.9, 1.0),
        ("3", "stands in Osaka", 0.4, 0.0),
    ]
    assert seen[1].gold == ("in Osaka", "Osaka")
    ranks: list[QuestionResult] = []
    evaluate_retrieval(
        lambda questions: [[_hit(OSAKA), _hit(VIENNA)] for _ in questions],
        _dataset(),
        document_key=lambda hit: hit.passage.document_id,
        record=ranks.append,
    )
    assert [item.scores for item in ranks] == [
        {"success@1": 0.0, "success@10": 1.0, "mrr@10": 0.5},
        {"success@1": 1.0, "success@10": 1.0, "mrr@10": 1.0},
    ]


def test_a_sample_depends_on_its_seed_alone_and_keeps_the_order_of_the_file() -> None:
    questions = tuple(Question(str(i), "q", (GoldAnswer("x", 0),)) for i in range(100))
    dataset = Dataset("d", (Article("", (Paragraph("x", questions),)),))
    one = [int(q.id) for _, q in sample(dataset, limit=10, seed=1)]
    assert one == sorted(one) == [int(q.id) for _, q in sample(dataset, limit=10, seed=1)]
    assert one != [int(q.id) for _, q in sample(dataset, limit=10, seed=2)]
    assert len(sample(dataset, limit=1000)) == 100


def test_a_paragraph_is_identified_by_its_text() -> None:
    assert paragraph_id(Paragraph(" a b\n", ())) == "a b"
