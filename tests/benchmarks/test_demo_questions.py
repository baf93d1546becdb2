from __future__ import annotations

from pathlib import Path

import pytest

import benchmarks.demo
from search_app.evaluation.datasets import Article, load_squad

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
