"""Before and after: the quality of models on labelled questions that a run does not train on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from search_app.evaluation.datasets import Article, Dataset
from search_app.evaluation.evaluate import evaluate_reader
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.settings import ReaderSettings

QUESTIONS = 1000
"""At most this many questions are asked, the same for every model: an interval of about ± 2.5 points."""


def labelled(datasets: Iterable[Dataset]) -> Dataset:
    """The articles of all datasets, with those questions that have a label: answers, or that there is none."""
    return Dataset("labelled", tuple(_labelled(article) for dataset in datasets for article in dataset.articles))


def _labelled(article: Article) -> Article:
    return replace(
        article,
        paragraphs=tuple(
            replace(p, questions=tuple(question for question in p.questions if question.labelled))
            for p in article.paragraphs
        ),
    )


def compare_readers(models: Mapping[str, str], dataset: Dataset, machine: Hardware) -> dict[str, dict[str, float]]:
    """EM and F1 (0–100) of each model on the same questions, by its key in `models`.

    Raises ModelUnavailable for a model that cannot be loaded or was not trained to answer questions.
    """
    return {
        key: evaluate_reader(ExtractiveReader(ReaderSettings(model=model), machine), dataset, limit=QUESTIONS)
        for key, model in models.items()
    }
