"""From token logits to spans, and from spans to distinct answers. Plain numpy."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.types import SpanCandidate

Floats = NDArray[np.float32]
_AROUND = string.punctuation + "“”‘’«»…–—"


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Tokens start..end, both inclusive; `logit` is the sum of its start and end logits."""

    start: int
    end: int
    logit: float


def best_spans(
    starts: Floats, ends: Floats, places: NDArray[np.int64], *, first: int, max_answer_tokens: int, n: int
) -> list[TokenSpan]:
    """The n best spans of 1..max_answer_tokens tokens that share a place, best first.

    `starts` and `ends` are the logits of one window, (tokens,) each; `places` are those of its tokens from `first` on,
    below 0 for a token that no answer may hold. Only a band of the start x end matrix is computed:
    len(places) x max_answer_tokens cells.
    """
    size = len(places)
    if size <= 0 or n <= 0:
        return []
    width = min(max_answer_tokens, size)
    band = starts[first : first + size, None] + _ahead(ends[first : first + size], width, -np.inf)
    same = (_ahead(places, width, -1) == places[:, None]) & (places >= 0)[:, None]
    flat = np.where(same, band, np.float32(-np.inf)).ravel()
    n = min(n, flat.size)
    top = np.argpartition(-flat, n - 1)[:n]
    top = top[np.lexsort((top, -flat[top]))]
    return [
        TokenSpan(first + int(i) // width, first + int(i) // width + int(i) % width, float(flat[i]))
        for i in top
        if np.isfinite(flat[i])
    ]


def _ahead(values: NDArray[Any], width: int, fill: float) -> NDArray[Any]:
    """Row i: values[i : i + width], with `fill` after the last one."""
    padded = np.full(len(values) + width - 1, fill, dtype=values.dtype)
    padded[: len(values)] = values
    return np.lib.stride_tricks.sliding_window_view(padded, width)


def null_logit(starts: Floats, ends: Floats) -> float:
    """How strongly a window predicts "no answer here": its first token as start and end (Devlin et al. 2019)."""
    return float(starts[0] + ends[0])


def distinct(candidates: Sequence[SpanCandidate], scores: Floats) -> list[int]:
    """Indices, best score first, without candidates that overlap a better one, are part of it or hold it."""
    kept: list[int] = []
    kept_in_document: dict[str, list[SpanCandidate]] = {}
    kept_texts: list[str] = []

    def order(i: int) -> tuple[float, int, int, int]:
        return -scores[i], candidates[i].hit, candidates[i].start, candidates[i].end

    for i in sorted(range(len(candidates)), key=order):
        candidate = candidates[i]
        others = kept_in_document.setdefault(candidate.document_id, [])
        own = words(candidate.normalized_text)
        if own and any(own in text or text in own for text in kept_texts):
            continue
        if any(candidate.start < other.end and other.start < candidate.end for other in others):
            continue
        others.append(candidate)
        kept.append(i)
        if own:
            kept_texts.append(own)
    return kept


def words(text: str) -> str:
    """The words of a text without the punctuation around them, with a space around each."""
    stripped = [word.strip(_AROUND) for word in text.split()]
    return f" {' '.join(filter(None, stripped))} " if any(stripped) else ""
