from __future__ import annotations

from pathlib import Path

import pytest

import benchmarks.demo
from benchmarks.demo.scoring import Outcome, is_right, summary
from search_app.evaluation.datasets import Article, GoldAnswer, Question, load_squad

DATASET = load_squad(Path(benchmarks.demo.__file__).with_name("questions.json"))


def test_100_questions_have_an_answer_and_30_have_none() -> None:
    answered = [bool(question.answers) for _, question in DATASET.questions]
    assert (answered.count(True), answered.count(False)) == (100, 30)
    assert len({question.text for _, question in DATASET.questions}) == 130


@pytest.mark.parametrize("article", DATASET.articles, ids=lambda article: article.title)
def test_every_answer_is_where_the_file_says(article: Article) -> None:
    for paragraph in article.paragraphs:
        for question in paragraph.questions:
            for answer in question.answers:
                assert paragraph.text.startswith(answer.text, answer.start), question.text


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("Jake Vanderplas and Brian Granger", ["Jake Vanderplas"], True),
        ('command line option "-O"', ["-O"], True),
        ("O", ["-O"], False),
        ("^", ['"^"'], True),
        ("&", ['"^"'], False),
        ("", ['"^"'], False),
        ("1.1.2", ["1.1"], False),
        ("It is the year 2007 in which it all began for us", ["2007"], False),
        ("Berlin", [], False),
    ],
)
def test_an_answer_is_right_if_little_is_around_an_accepted_text(answer: str, accepted: list[str], right: bool) -> None:
    assert is_right(answer, accepted) is right


def test_the_summary_counts_what_is_shown() -> None:
    has, has_not = Question("1", "?", (GoldAnswer("Bern", 0),)), Question("2", "?", ())
    found = summary(
        [
            Outcome(has, "Bern", right=True, shown=True, confidence=1.0),
            Outcome(has, "Rome", confidence=0.0),
            Outcome(has_not, "Rome", shown=True, confidence=1.0),
            Outcome(has_not),
        ]
    )
    assert (found["right"], found["right_and_shown"], found["unanswerable_answered"]) == (0.5, 0.5, 0.5)
    assert found["wrong_among_shown"] == 0.5
    assert found["ece"] == pytest.approx(1 / 3)
