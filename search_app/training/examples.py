"""Training examples, windows with their target spans, and the order in which a run sees them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.evaluation.datasets import Dataset
from search_app.readers.windows import Window, WindowMaker

NO_ANSWER = (0, 0)
"""Target of a window without an answer: its first token (Devlin et al. 2019)."""


@dataclass(frozen=True, slots=True)
class Example:
    """A window and the token ranges (inclusive) of its gold answers; NO_ANSWER if it has none."""

    window: Window
    targets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Negative:
    """A question, and a passage that does not answer it, with its title."""

    question: str
    text: str
    title: str


def make_examples(
    dataset: Dataset,
    negatives: Sequence[Negative],
    windows: WindowMaker,
    rng: random.Random,
    title_dropout: float = 0.0,
) -> list[Example]:
    """Every window of every question. Answers are at their offsets (`data.placed`).

    A share `title_dropout` of the questions, drawn with `rng`, sees its passage without title.
    """
    pairs = list(dataset.titled_questions)
    gold = [[(answer.start, answer.start + len(answer.text)) for answer in item.answers] for *_, item in pairs]
    gold += [[] for _ in negatives]
    titles = [title for title, *_ in pairs] + [negative.title for negative in negatives]
    cut = windows(
        [question.text for *_, question in pairs] + [negative.question for negative in negatives],
        [paragraph.text for _, paragraph, _ in pairs] + [negative.text for negative in negatives],
        ["" if rng.random() < title_dropout else title for title in titles],
    )
    made = []
    for window in cut:
        spans = (window.tokens(start, end) for start, end in gold[window.pair])
        made.append(Example(window, tuple(span for span in spans if span) or (NO_ANSWER,)))
    return made


@dataclass(frozen=True, slots=True)
class Schedule:
    """The example and the target of every row of every batch, for the whole run.

    It depends on its inputs alone, so a resumed run sees the same batches.
    """

    example: NDArray[np.int64]
    target: NDArray[np.int64]
    batch_size: int

    @property
    def steps(self) -> int:
        return -(-len(self.example) // self.batch_size)


def make_schedule(
    lengths: NDArray[np.int64], targets: NDArray[np.int64], *, batch_size: int, epochs: float, seed: int
) -> Schedule:
    """Each epoch in a new random order. Among 50 batches, rows of similar length share one; batches are shuffled.

    `lengths` and `targets` are the numbers of tokens and of gold answers of each example.
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
            # A batch that is not full comes last, or all that follow would mix two lengths.
            full = [batch for batch in batches if len(batch) == batch_size]
            rows += [full[i] for i in rng.permutation(len(full))] + [b for b in batches if len(b) < batch_size]
    chosen = np.concatenate(rows)[:total]
    return Schedule(chosen, (rng.random(total) * targets[chosen]).astype(np.int64), batch_size)


def padded_tokens(plan: Schedule, lengths: NDArray[np.int64]) -> int:
    """Tokens that the run computes, padding included. `lengths` are padded already."""
    sizes = lengths[plan.example]
    return sum(
        int(sizes[i : i + plan.batch_size].max()) * len(sizes[i : i + plan.batch_size])
        for i in range(0, len(sizes), plan.batch_size)
    )
