"""Prepare SQuAD files for training: leave out misplaced answers and overlap, split, join paragraphs, add negatives."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question, load_squad
from search_app.evaluation.squad import normalise
from search_app.training.config import ReaderDistillation, ReaderTraining
from search_app.training.development import SHOWN, merged, require_disjoint, require_trainable, split_documents
from search_app.training.examples import Pair
from search_app.training.measuring import labelled
from search_app.types import Matrix

RUN_WORDS = 16
"""Two paragraphs that share a run of this many words count as the same text."""
SEPARATOR = " "
_NEAREST, _HARDEST = 12, 5
"""A negative is one of the hardest of the nearest paragraphs."""

_log = logging.getLogger(__name__)

Encode = Callable[[Sequence[str]], Matrix]
"""Texts to vectors, (texts, dimensions), of unit length."""


@dataclass(frozen=True, slots=True)
class Data:
    """The training files, one dataset per listing, and what measures the training; `facts` for the model card."""

    training: list[Dataset]
    development: Dataset
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An answer that the text does not have at its offset: `found` is what is there."""

    file: str
    id: str
    expected: str
    found: str


def read_datasets(config: ReaderTraining) -> Data:
    """The training files without held-out and overlapping paragraphs, and the development split.

    Writes the held-out questions, and the answers that are left out as misplaced, into the work folder. Raises
    ConfigurationError for data that no reader can learn from.
    """
    loaded = {path: load_squad(path) for path in dict.fromkeys((*config.data, *config.development))}
    taught = isinstance(config, ReaderDistillation)
    require_trainable([loaded[path] for path in dict.fromkeys(config.data)], taught=taught)
    require_disjoint([loaded[path] for path in config.data], [loaded[path] for path in config.development])
    wrong: list[Misplaced] = []
    for path, dataset in loaded.items():
        loaded[path], misplaced = placed(dataset)
        wrong += misplaced
    _report(wrong, config.work / "misplaced.json")
    evaluation = [load_squad(path) for path in config.evaluation]
    share = 0.0 if config.development else config.development_share
    clean: dict[Path, Dataset] = {}
    development = [loaded[path] for path in config.development]
    facts: dict[str, Any] = {"files": {}, "checked_against": [path.name for path in config.evaluation]}
    for path in dict.fromkeys(config.data):
        split = split_documents(loaded[path], share, config.seed)
        training, kept_out = hold_out(split.training, config.holdout, config.seed)
        training, dropped = without_overlap(training, evaluation)
        clean[path] = training if config.limit is None else limit_questions(training, config.limit)
        development.append(split.development)
        kept_out, _ = without_overlap(labelled([kept_out]) if taught else kept_out, evaluation)
        if any(kept_out.questions):
            (config.work / f"holdout-{path.stem}.json").write_text(kept_out.to_json(), encoding="utf-8")
        facts["files"][path.name] = {
            "listed": config.data.count(path),
            "questions": sum(1 for _ in clean[path].questions),
            "held_out": sum(1 for _ in kept_out.questions),
            "development": sum(1 for _ in split.development.questions),
            "misplaced": sum(item.file == loaded[path].name for item in wrong),
            "overlapping_paragraphs": dropped,
        }
    return Data([clean[path] for path in config.data], merged(development, "development"), facts)


def placed(dataset: Dataset) -> tuple[Dataset, list[Misplaced]]:
    """The dataset without answers that its text does not have at their offset, and those answers.

    A question that lost all its answers is left out too; one that never had any stays, and trains "no answer".
    """
    wrong: list[Misplaced] = []

    def kept(text: str, question: Question) -> Question | None:
        good = tuple(a for a in question.answers if a.text and a.start >= 0 and text.startswith(a.text, a.start))
        for answer in question.answers:
            if answer not in good:
                found = text[max(0, answer.start) : max(0, answer.start) + max(1, len(answer.text))]
                wrong.append(Misplaced(dataset.name, question.id, answer.text, found))
        return replace(question, answers=good) if good or not question.answers else None

    articles = tuple(
        replace(
            article,
            paragraphs=tuple(
                replace(p, questions=tuple(q for q in (kept(p.text, q) for q in p.questions) if q))
                for p in article.paragraphs
            ),
        )
        for article in dataset.articles
    )
    return Dataset(dataset.name, articles), wrong


def _report(wrong: Sequence[Misplaced], path: Path) -> None:
    """List the answers that are left out: all of them in a file, some in the log."""
    if not wrong:
        return
    path.write_text(json.dumps([asdict(item) for item in wrong], ensure_ascii=False, indent=1), encoding="utf-8")
    lines = [f"{i.file}, {i.id}: expected {i.expected!r}, found {i.found!r}" for i in wrong[:SHOWN]]
    _log.warning(
        "left out %d answers that differ from the text at their offset; %s lists them\n  %s",
        len(wrong), path, "\n  ".join(lines),
    )  # fmt: skip


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


def hard_negatives(dataset: Dataset, share: float, rng: random.Random, encode: Encode) -> list[Pair]:
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
    found: list[Pair] = []
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
                found.append(Pair(question.text, text, titles[text]))
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
