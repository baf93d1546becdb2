"""The development split: documents that a training does not see and that measure it. And checks of labelled data."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset

SHOWN = 5
"""Ids that an error names."""


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on, and what measures it; `development` may be empty."""

    training: Dataset
    development: Dataset


def require_trainable(datasets: Sequence[Dataset], *, taught: bool = False) -> None:
    """Raise ConfigurationError for data that no model can learn from: duplicate ids, one question, no answers.

    A model that is `taught` by another needs no answers.
    """
    for dataset in datasets:
        ids = Counter(question.id for _, question in dataset.questions)
        if twice := [id for id, count in ids.items() if count > 1]:
            raise ConfigurationError(
                f"{dataset.name}: ids are used more than once: {named(twice)}",
                hint="give each question its own",
                field="data",
            )
    questions = [question for dataset in datasets for _, question in dataset.questions]
    names = ", ".join(dataset.name for dataset in datasets)
    if len(questions) < 2:
        raise ConfigurationError(
            f"{names}: one question is too little to learn from", hint="give some hundred", field="data"
        )
    if not taught and not any(question.answers for question in questions):
        raise ConfigurationError(
            f"{names}: none of the {len(questions)} questions has an answer",
            hint="add questions that the paragraphs answer",
            field="data",
        )


def split_documents(dataset: Dataset, share: float, seed: int) -> Split:
    """Hold out about a share of the questions, by document: articles of one title stay together.

    A file with one document is split by paragraph. Raises ConfigurationError if nothing is left to train on.
    """
    units = _documents(dataset)
    if len(units) == 1:
        units = [[Article(a.title, (paragraph,))] for a in dataset.articles for paragraph in a.paragraphs]
    random.Random(f"{seed} {dataset.name}").shuffle(units)
    held = _chosen([_questions(unit) for unit in units], share) if share else set()
    if len(held) == len(units):
        raise ConfigurationError(
            f"{dataset.name} has only one paragraph: it cannot be split", hint="add more documents", field="data"
        )
    kept = [article for i, unit in enumerate(units) if i not in held for article in unit]
    return Split(
        Dataset(dataset.name, tuple(kept) if held else dataset.articles),
        Dataset(dataset.name, tuple(article for i in sorted(held) for article in units[i])),
    )


def require_disjoint(training: Iterable[Dataset], development: Iterable[Dataset]) -> None:
    """Raise ConfigurationError, with the ids of the questions, for a document in both: it has the same title or text.

    Measured on what it was trained on, a model looks better than it is.
    """
    known = {key for dataset in training for article in dataset.articles for key in _keys(article)}
    leaks: dict[str, str] = {}
    for dataset in development:
        for article in dataset.articles:
            if not known.isdisjoint(_keys(article)):
                leaks |= {question.id: article.title for p in article.paragraphs for question in p.questions}
    if leaks:
        titles = [title for title in dict.fromkeys(leaks.values()) if title]
        of = f" of {named(titles)}" if titles else ""
        raise ConfigurationError(
            f"the same documents are in the training and the development data: questions {named(list(leaks))}{of}",
            hint="remove them from one of the two",
            field="development",
        )


def merged(datasets: Sequence[Dataset], name: str) -> Dataset:
    """All articles as one dataset."""
    return Dataset(name, tuple(article for dataset in datasets for article in dataset.articles))


def named(items: Sequence[str]) -> str:
    """The first items, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def _documents(dataset: Dataset) -> list[list[Article]]:
    found: dict[str, list[Article]] = defaultdict(list)
    for number, article in enumerate(dataset.articles):
        found[article.title or f"\0{number}"].append(article)
    return list(found.values())


def _chosen(sizes: Sequence[int], share: float) -> set[int]:
    """Units of about a share of the questions, in their order; the smallest one if each is larger."""
    held: set[int] = set()
    count = 0
    for index, size in enumerate(sizes):
        if count + size <= share * sum(sizes):
            held.add(index)
            count += size
    return held or {min(range(len(sizes)), key=lambda index: (sizes[index] == 0, sizes[index]))}


def _questions(articles: Sequence[Article]) -> int:
    return sum(len(paragraph.questions) for article in articles for paragraph in article.paragraphs)


def _keys(article: Article) -> set[tuple[str, str]]:
    texts = {("text", " ".join(paragraph.text.split())) for paragraph in article.paragraphs}
    return texts | ({("title", article.title)} if article.title else set())
