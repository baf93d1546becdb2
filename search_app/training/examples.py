"""Training examples, windows with their target spans, and the order in which a run sees them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search_app.evaluation.datasets import Dataset
from search_app.readers.windows import Window, WindowMaker

NO_ANSWER = (0, 0)
"""Target of a window without an answer: its first token (Devlin et al. 2019)."""
UNLABELLED = (-100, -100)
"""Target of a window whose answer is not known: PyTorch's losses ignore it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, and a passage that it is asked of, with the title of the passage ("" for none)."""

    question: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Example:
    """A window of a pair, and the token ranges (inclusive) of its gold answers.

    Without answers it has the one target NO_ANSWER, or UNLABELLED.
    """

    window: Window
    targets: tuple[tuple[int, int], ...]
    pair: Pair


def make_examples(
    dataset: Dataset,
    negatives: Sequence[Pair],
    windows: WindowMaker,
    rng: random.Random,
    title_dropout: float = 0.0,
    *,
    unlabelled: bool = False,
) -> list[Example]:
    """Every window of every question. Answers are at their offsets (`data.placed`).

    A share `title_dropout` of the questions, drawn with `rng`, sees its passage without title. Questions without
    answers train "no answer"; with `unlabelled`, only those that their file marks as unanswerable do.
    """
    pairs: list[Pair] = []
    gold: list[list[tuple[int, int]] | None] = []
    for title, paragraph, question in dataset.titled_questions:
        pairs.append(Pair(question.text, paragraph.text, title))
        spans = [(answer.start, answer.start + len(answer.text)) for answer in question.answers]
        gold.append(spans if question.labelled or not unlabelled else None)
    pairs += negatives
    gold += [[] for _ in negatives]
    pairs = [replace(pair, title="") if rng.random() < title_dropout else pair for pair in pairs]
    cut = windows([pair.question for pair in pairs], [pair.text for pair in pairs], [pair.title for pair in pairs])
    return [Example(window, _targets(window, gold[window.pair]), pairs[window.pair]) for window in cut]


def _targets(window: Window, gold: Sequence[tuple[int, int]] | None) -> tuple[tuple[int, int], ...]:
    if gold is None:
        return (UNLABELLED,)
    spans = (window.tokens(start, end) for start, end in gold)
    return tuple(span for span in spans if span) or (NO_ANSWER,)


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
