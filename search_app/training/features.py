"""SQuAD files as training examples: held out, checked against evaluation files, joined, mixed with near misses, cut."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.evaluation.squad import normalise
from search_app.readers.windows import Window, WindowMaker

RUN_WORDS = 16
"""Two paragraphs that share a run of so many words are taken for the same text."""
SEPARATOR = " "
NO_ANSWER = (0, 0)
"""Where BERT's readers point when the window holds no answer: the first token."""


@dataclass(frozen=True, slots=True)
class Example:
    """A window and the token ranges (inclusive) of its gold answers; NO_ANSWER where it holds none."""

    window: Window
    targets: tuple[tuple[int, int], ...]


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """(training, held out), cut by article; an article larger than the share is cut by paragraph instead."""
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
    """The dataset without paragraphs that share a run of words with an evaluation file, and how many those were."""
    known = {run for other in evaluation for paragraph in other.paragraphs for run in word_runs(paragraph.text)}
    kept, dropped = [], 0
    for article in dataset.articles:
        clean = tuple(p for p in article.paragraphs if known.isdisjoint(word_runs(p.text)))
        dropped += len(article.paragraphs) - len(clean)
        kept.append(replace(article, paragraphs=clean))
    return Dataset(dataset.name, tuple(kept)), dropped


def join_paragraphs(dataset: Dataset, words: int, rng: random.Random) -> Dataset:
    """Neighbouring short paragraphs of an article become one of a random 30–100 % of `words`, answers shifted along."""
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
            # A paragraph that is long enough stays alone.
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


def near_misses(dataset: Dataset, share: float, rng: random.Random) -> list[tuple[str, str]]:
    """(question, text) pairs: for a share of the questions the paragraph most like it that holds none of its answers.

    Reading them as "no answer here" teaches a reader to compare passages (Clark and Gardner 2018).
    """
    pairs = [pair for pair in dataset.questions if pair[1].answers]
    chosen = rng.sample(pairs, round(share * len(pairs)))
    paragraphs = list(dict.fromkeys(paragraph.text for paragraph in dataset.paragraphs))
    if not chosen or len(paragraphs) < 2:
        return []
    vectoriser = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    texts = vectoriser.fit_transform(paragraphs)
    normal = [normalise(text) for text in paragraphs]
    found: list[tuple[str, str]] = []
    for begin in range(0, len(chosen), 256):
        part = chosen[begin : begin + 256]
        likeness = (vectoriser.transform([question.text for _, question in part]) @ texts.T).toarray()
        for (own, question), row in zip(part, likeness, strict=True):
            gold = [normalise(answer) for answer in question.gold]
            candidates = [
                int(i)
                for i in np.argsort(-row)[:10]
                if row[i] > 0 and paragraphs[i] != own.text and not any(g in normal[i] for g in gold)
            ]
            if candidates:
                found.append((question.text, paragraphs[rng.choice(candidates[:3])]))
    return found


def examples(dataset: Dataset, misses: Sequence[tuple[str, str]], windows: WindowMaker) -> tuple[list[Example], int]:
    """Every window of every question, and how many answers do not stand where the file says and were left out."""
    pairs = list(dataset.questions)
    answers = [
        [
            (answer.start, answer.start + len(answer.text))
            for answer in question.answers
            if answer.text and paragraph.text.startswith(answer.text, answer.start)
        ]
        for paragraph, question in pairs
    ]
    misplaced = sum(len(question.answers) - len(good) for (_, question), good in zip(pairs, answers, strict=True))
    # A question that lost all of its answers says nothing; one that never had any is a trained "no answer".
    usable = [i for i, (_, question) in enumerate(pairs) if answers[i] or not question.answers]
    gold = [answers[i] for i in usable] + [[] for _ in misses]
    cut = windows(
        [pairs[i][1].text for i in usable] + [question for question, _ in misses],
        [pairs[i][0].text for i in usable] + [text for _, text in misses],
    )
    made = []
    for window in cut:
        spans = (window.tokens(start, end) for start, end in gold[window.pair])
        made.append(Example(window, tuple(span for span in spans if span) or (NO_ANSWER,)))
    return made, misplaced


def limit_questions(dataset: Dataset, limit: int) -> Dataset:
    """The first `limit` questions; paragraphs left without one go."""
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


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which example and which of its answers stand in which row of which batch, for the whole run.

    A pure function of its inputs, so a run that is taken up again sees the same batches.
    """

    example: NDArray[np.int64]
    target: NDArray[np.int64]
    batch_size: int

    @property
    def steps(self) -> int:
        return -(-len(self.example) // self.batch_size)


def schedule(
    lengths: NDArray[np.int64], targets: NDArray[np.int64], *, batch_size: int, epochs: float, seed: int
) -> Schedule:
    """Each epoch in a new random order; among 50 batches rows of like length share one; then batches are shuffled.

    `lengths` and `targets`: tokens and gold answers of each example.
    """
    rng = np.random.default_rng(seed)
    total = max(1, round(epochs * len(lengths)))
    rows: list[NDArray[np.int64]] = []
    for _ in range(-(-total // len(lengths))):
        order = rng.permutation(len(lengths))
        for begin in range(0, len(order), 50 * batch_size):
            pool = order[begin : begin + 50 * batch_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
            # A batch that is not full must come last, or all that follow would straddle two lengths.
            full = [batch for batch in batches if len(batch) == batch_size]
            rows += [full[i] for i in rng.permutation(len(full))] + [b for b in batches if len(b) < batch_size]
    chosen = np.concatenate(rows)[:total]
    return Schedule(chosen, (rng.random(total) * targets[chosen]).astype(np.int64), batch_size)


def padded_tokens(plan: Schedule, lengths: NDArray[np.int64]) -> int:
    """Tokens that the run computes, padding included."""
    sizes = lengths[plan.example]
    return sum(
        int(sizes[i : i + plan.batch_size].max()) * len(sizes[i : i + plan.batch_size])
        for i in range(0, len(sizes), plan.batch_size)
    )
