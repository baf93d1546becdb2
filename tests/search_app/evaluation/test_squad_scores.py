from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_app.evaluation.datasets import load_squad
from search_app.evaluation.squad import exact, f1, normalise


@pytest.mark.parametrize(
    ("text", "normal"),
    [("The  Cat!", "cat"), ("an  apple a day", "apple day"), ("U.S.A.", "usa"), ("Anna", "anna"), ("the", "")],
)
def test_articles_case_punctuation_and_white_space_are_ignored(text: str, normal: str) -> None:
    assert normalise(text) == normal


def test_the_best_gold_answer_counts() -> None:
    assert exact("In Vienna", ["Vienna", "in vienna."]) == 1
    assert f1("in old Vienna", ["Vienna", "old Vienna town"]) == pytest.approx(2 / 3)


def test_without_a_gold_answer_only_no_answer_is_right() -> None:
    assert (exact("", []), f1("", [])) == (1, 1)
    assert (exact("Vienna", []), f1("Vienna", [])) == (0, 0)
    assert (exact("", ["Vienna"]), f1("", ["Vienna"])) == (0, 0)


def test_repeated_words_count_as_often_as_they_occur() -> None:
    assert f1("ha ha", ["ha"]) == pytest.approx(2 / 3)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("predictions", "data", "em", "f"),
    [
        ("bert-ensemble-predictions-v1.1-dev.json", "squad-v1.1-dev.json", 86.21, 92.20),
        ("bert-large-predictions-v2.0-dev.json", "squad-v2.0-dev.json", 78.76, 81.79),
    ],
)
def test_published_predictions_get_their_published_scores(
    shared_data: Path, predictions: str, data: str, em: float, f: float
) -> None:
    answers = json.loads((shared_data / "eval" / predictions).read_text())
    pairs = [(answers[q.id], q.gold) for _, q in load_squad(shared_data / "eval" / data).questions]
    assert 100 * sum(exact(*pair) for pair in pairs) / len(pairs) == pytest.approx(em, abs=0.006)
    assert 100 * sum(f1(*pair) for pair in pairs) / len(pairs) == pytest.approx(f, abs=0.006)
