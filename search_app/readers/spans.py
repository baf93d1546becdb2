"""From token scores to ranked answers: numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Tokens start..end, both inclusive; `score` is the sum of its start and end logits."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked answer before it is ranked: characters [start, end) of a document, read in the hit of rank `hit`.

    `logit` is the sum of its start and end logits, `null` the same of "no answer here" in its window. Marks of equal
    `text` say the same, wherever they stand; "" is unlike any other.
    """

    document_id: str
    start: int
    end: int
    hit: int
    logit: float
    null: float
    text: str = ""


def best_spans(
    starts: Floats, ends: Floats, *, first: int, last: int, max_answer_tokens: int, n: int
) -> list[TokenSpan]:
    """The n best spans of 1..max_answer_tokens tokens inside tokens [first, last), best first.

    Scores a band of the start x end matrix instead of the whole: (last - first) x max_answer_tokens cells.
    """
    size = last - first
    if size <= 0 or n <= 0:
        return []
    width = min(max_answer_tokens, size)
    padded = np.full(size + width - 1, -np.inf, dtype=np.float32)
    padded[:size] = ends[first:last]
    band = starts[first:last, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    flat = band.ravel()
    n = min(n, flat.size)
    top = np.argpartition(-flat, n - 1)[:n]
    top = top[np.lexsort((top, -flat[top]))]
    return [
        TokenSpan(first + int(i) // width, first + int(i) // width + int(i) % width, float(flat[i]))
        for i in top
        if np.isfinite(flat[i])
    ]


def null_score(starts: Floats, ends: Floats) -> float:
    """How strongly the window says "no answer here": the first token as start and end (Devlin et al. 2019)."""
    return float(starts[0] + ends[0])


def merge(marks: Sequence[Mark], scores: Floats) -> list[int]:
    """Indices, best score first; of marks that overlap in one document or say the same only the best stays."""
    kept: list[int] = []
    taken: dict[str, list[Mark]] = {}
    said: set[str] = set()
    for i in sorted(range(len(marks)), key=lambda i: (-scores[i], marks[i].hit, marks[i].start, marks[i].end)):
        mark = marks[i]
        others = taken.setdefault(mark.document_id, [])
        if mark.text in said or any(mark.start < other.end and other.start < mark.end for other in others):
            continue
        others.append(mark)
        kept.append(i)
        if mark.text:
            said.add(mark.text)
    return kept
