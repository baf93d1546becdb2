"""Prepare SQuAD files for training: hold out, remove overlap with evaluation files, join paragraphs, add negatives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question, load_squad
from search_app.evaluation.squad import normalise
from search_app.training.config import ReaderTraining
from search_app.training.examples import Negative
from search_app.types import Matrix

RUN_WORDS = 16
"""Two paragraphs that share a run of this many words count as the same text."""
SEPARATOR = " "
_NEAREST, _HARDEST = 12, 5
"""A negative is one of the hardest of the nearest paragraphs."""

Encode = Callable[[Sequence[str]], Matrix]
"""Texts to vectors, (texts, dimensions), of unit length."""


def read_datasets(config: ReaderTraining) -> tuple[list[Dataset], dict[str, Any]]:
    """The training files without held-out and overlapping paragraphs, one per listing, and facts for the model card.

    Writes the held-out questions into the work folder.
    """
    evaluation = [load_squad(path) for path in config.evaluation]
    clean: dict[Path, Dataset] = {}
    held: list[Dataset] = []
    facts: dict[str, Any] = {"files": {}, "checked_against": [path.name for path in config.evaluation]}
    for path in dict.fromkeys(config.data):
        training, kept_out = hold_out(load_squad(path), config.holdout, config.seed)
        training, dropped = without_overlap(training, evaluation)
        clean[path] = training if config.limit is None else limit_questions(training, config.limit)
        held.append(without_overlap(kept_out, evaluation)[0])
        facts["files"][path.name] = {
            "listed": config.data.count(path),
            "questions": sum(1 for _ in clean[path].questions),
            "held_out": sum(1 for _ in kept_out.questions),
            "overlapping_paragraphs": dropped,
        }
    for dataset in held:
        if any(dataset.questions):
            (config.work / f"holdout-{dataset.name}.json").write_text(dataset.to_json(), encoding="utf-8")
    return [clean[path] for path in config.data], facts


def held_out(folder: Path, only: Sequence[Path] = ()) -> list[tuple[Path, Path]]:
    """(training file, its held-out questions) of a run; raises ConfigurationError if nothing was held out."""
    record = folder / "work" / "run.json"
    if not record.is_file():
        raise ConfigurationError(
            f"{folder} is not a training run", hint="give the --out folder of: search-app train reader"
        )
    files = [
        path for path in dict.fromkeys(map(Path, json.loads(record.read_text())["data"])) if path in only or not only
    ]
    pairs = [(path, held) for path in files if (held := folder / "work" / f"holdout-{path.stem}.json").is_file()]
    if not pairs:
        raise ConfigurationError(f"no questions were held out in {folder}", hint="train with --holdout 0.05")
    return pairs


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """(training, held out), split by article; an article larger than the share is split by paragraph."""
    total = sum(1 for _ in dataset.questions)
    units: list[Article] = []
    for article in dataset.articles:
        whole = sum(len(paragraph.questions) for paragraph in article.paragraphs) <= share * total
        units += [article] if whole else [Article(article.title, (paragraph,)) for paragraph in article.paragraphs]
    order = list(range(len(units)))
    random.Random(f"{seed} {dataset.name}").shuffle(order)
    held: set[int] = set()
    count = 0
    for index in order:
        size = sum(len(paragraph.questions) for paragraph in units[index].paragraphs)
        if count + size <= share * total:
            held.add(index)
            count += size
    return (
        Dataset(dataset.name, tuple(unit for index, unit in enumerate(units) if index not in held)),
        Dataset(dataset.name, tuple(unit for index, unit in enumerate(units) if index in held)),
    )


def word_runs(text: str) -> Iterator[tuple[str, ...]]:
    """All runs of RUN_WORDS normalised words; a shorter text is one run."""
    words = normalise(text).split()
    return (tuple(words[i : i + RUN_WORDS]) for i in range(max(1, len(words) - RUN_WORDS + 1)))


def without_overlap(dataset: Dataset, evaluation: Iterable[Dataset]) -> tuple[Dataset, int]:
    """The dataset without paragraphs that share a run of words with an evaluation file, and how many were removed."""
    known = {run for other in evaluation for paragraph in other.paragraphs for run in word_runs(paragraph.text)}
    kept, dropped = [], 0
    for article in dataset.articles:
        clean = tuple(p for p in article.paragraphs if known.isdisjoint(word_runs(p.text)))
        dropped += len(article.paragraphs) - len(clean)
        kept.append(replace(article, paragraphs=clean))
    return Dataset(dataset.name, tuple(kept)), dropped


def join_paragraphs(dataset: Dataset, words: int, rng: random.Random) -> Dataset:
    """Join neighbouring short paragraphs of an article up to a random 30–100 % of `words`; answers move with them."""
    short = round(0.3 * words)

    def joined(paragraphs: Sequence[Paragraph]) -> Iterator[Paragraph]:
        group: list[Paragraph] = []
        size, target = 0, 0
        for paragraph in paragraphs:
            length = len(paragraph.text.split())
            if group and (length >= short or size + length > target):
                yield _concatenate(group)
                group = []
            if not group:
                size, target = 0, rng.randint(short, words)
            group.append(paragraph)
            # A long paragraph stays alone.
            size += length if length < short else words
        if group:
            yield _concatenate(group)

    return Dataset(dataset.name, tuple(replace(a, paragraphs=tuple(joined(a.paragraphs))) for a in dataset.articles))


def _concatenate(group: Sequence[Paragraph]) -> Paragraph:
    questions: list[Question] = []
    start = 0
    for paragraph in group:
        questions += [
            replace(question, answers=tuple(GoldAnswer(a.text, a.start + start) for a in question.answers))
            for question in paragraph.questions
        ]
        start += len(paragraph.text) + len(SEPARATOR)
    return Paragraph(SEPARATOR.join(paragraph.text for paragraph in group), tuple(questions))


def hard_negatives(dataset: Dataset, share: float, rng: random.Random, encode: Encode) -> list[Negative]:
    """For a share of the questions, a similar paragraph without any of its answers.

    Similar as in the search whose hits a reader gets: by words (TF-IDF) and by the vectors of `encode`. Their target is
    "no answer here", which teaches a reader to compare passages (Clark and Gardner 2018).
    """
    pairs = [pair for pair in dataset.questions if pair[1].answers]
    chosen = rng.sample(pairs, round(share * len(pairs)))
    titles = {paragraph.text: title for title, paragraph, _ in dataset.titled_questions}
    paragraphs = list(titles)
    if not chosen or len(paragraphs) < 2:
        return []
    vectoriser = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    words, vectors = vectoriser.fit_transform(paragraphs), encode(paragraphs)
    normal = [normalise(text) for text in paragraphs]
    found: list[Negative] = []
    for begin in range(0, len(chosen), 256):
        part = chosen[begin : begin + 256]
        questions = [question.text for _, question in part]
        similarity = (vectoriser.transform(questions) @ words.T).toarray() + encode(questions) @ vectors.T
        for (own, question), row in zip(part, similarity, strict=True):
            gold = [normalise(answer) for answer in question.gold]
            candidates = [
                int(i)
                for i in np.argsort(-row)[:_NEAREST]
                if paragraphs[i] != own.text and not any(g in normal[i] for g in gold)
            ]
            if candidates:
                text = paragraphs[rng.choice(candidates[:_HARDEST])]
                found.append(Negative(question.text, text, titles[text]))
    return found


def limit_questions(dataset: Dataset, limit: int) -> Dataset:
    """The first `limit` questions, without the paragraphs that have none left."""
    articles, left = [], limit
    for article in dataset.articles:
        paragraphs = []
        for paragraph in article.paragraphs:
            questions = paragraph.questions[:left]
            left -= len(questions)
            if questions:
                paragraphs.append(replace(paragraph, questions=questions))
        articles.append(replace(article, paragraphs=tuple(paragraphs)))
    return Dataset(dataset.name, tuple(articles))
