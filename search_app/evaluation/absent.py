"""Questions whose articles are not in the corpus."""

from __future__ import annotations

import random
from dataclasses import replace

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset


def halves(dataset: Dataset, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """The questions of one half of the articles, without their answers, and the other half.

    Raises ConfigurationError for a file with one article, or without questions in the half that is asked.
    """
    articles = random.Random(seed).sample(dataset.articles, len(dataset.articles))
    middle = len(articles) // 2
    asked = Dataset(dataset.name, tuple(_unanswerable(article) for article in articles[:middle]))
    if next(asked.questions, None) is None or not any(article.paragraphs for article in articles[middle:]):
        raise ConfigurationError(
            f"{dataset.name} has too few articles to ask about absent ones",
            hint="give a file with questions in at least two articles, or leave out --absent",
            field="data",
        )
    return asked, Dataset(dataset.name, tuple(articles[middle:]))


def _unanswerable(article: Article) -> Article:
    return replace(
        article,
        paragraphs=tuple(
            replace(paragraph, questions=tuple(replace(question, answers=()) for question in paragraph.questions))
            for paragraph in article.paragraphs
        ),
    )
