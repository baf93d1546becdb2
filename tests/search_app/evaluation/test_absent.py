from __future__ import annotations

import pytest

from search_app.errors import ConfigurationError
from search_app.evaluation.absent import halves
from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question


def _article(name: str) -> Article:
    return Article(name, (Paragraph(name, (Question(name, f"What is {name}?", (GoldAnswer(name, 0),)),)),))


@pytest.mark.parametrize("count", [2, 5])
def test_the_questions_of_one_half_meet_the_paragraphs_of_the_other(count: int) -> None:
    dataset = Dataset("d", tuple(_article(f"a{i}") for i in range(count)))
    asked, present = halves(dataset, seed=1)
    assert len(asked.articles) == count // 2
    assert {one.title for one in asked.articles} | {one.title for one in present.articles} == {
        one.title for one in dataset.articles
    }
    assert len(asked.articles) + len(present.articles) == count
    assert not any(question.answers for _, question in asked.questions)
    assert (asked, present) == halves(dataset, seed=1)
    assert any(halves(dataset, seed=seed) != (asked, present) for seed in range(2, 12))


@pytest.mark.parametrize("articles", [(_article("a"),), (Article("a", ()), Article("b", ()))])
def test_a_file_with_one_article_has_no_absent_ones(articles: tuple[Article, ...]) -> None:
    with pytest.raises(ConfigurationError, match="d has too few articles"):
        halves(Dataset("d", articles))
