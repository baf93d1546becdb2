"""Fuses two rankings into one. Raw scores of different retrievers are never compared.

Passages with a phrase that the question asks for by the letter come first, and equal texts take one place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from search_app.duplicates import folded, without_boilerplate_first
from search_app.settings import RetrievalSettings
from search_app.text.questions import exact_phrases
from search_app.types import Hit, Passage, Rankings

RRF_CONSTANT = 60


def best(question: str, rankings: Rankings, settings: RetrievalSettings, *, k: int) -> list[Hit]:
    """The best k hits of different text: those of both rankings by `fuse`, exact ones first."""
    fused = fuse(rankings.dense, rankings.keyword, settings, k=len(rankings.dense) + len(rankings.keyword))
    return folded(_exact_first(exact_phrases(question), without_boilerplate_first(fused)), k)


def _exact_first(phrases: Sequence[str], hits: list[Hit]) -> list[Hit]:
    """Those with more of the phrases in their text, title or file name first; otherwise in the same order."""
    if not phrases:
        return hits
    patterns = [_pattern(phrase) for phrase in phrases]

    def count(hit: Hit) -> int:
        text = f"{hit.passage.title}\n{hit.passage.source}\n{hit.passage.text}".casefold()
        return sum(pattern.search(text) is not None for pattern in patterns)

    return sorted(hits, key=lambda hit: -count(hit))


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase as whole words; `2.3.1` is no part of `2.3.1.4`."""
    words = r"\s+".join(map(re.escape, phrase.casefold().split()))
    before = r"(?<!\w)(?<!\d[.,/-])" if phrase[0].isalnum() else ""
    after = r"(?!\w)(?![.,/-]\d)" if phrase[-1].isalnum() else r"(?!\w)"
    return re.compile(before + words + after)


def fuse(dense: Sequence[Hit], keyword: Sequence[Hit], settings: RetrievalSettings, *, k: int) -> list[Hit]:
    """The best k hits of both, by `settings.method`. Each hit keeps the raw scores of the retrievers that found it."""
    found: dict[str, tuple[Passage, dict[str, float]]] = {}
    for hit in (*dense, *keyword):
        found.setdefault(hit.passage.id, (hit.passage, {}))[1].update(hit.scores)
    if settings.method == "rrf":
        weights, parts = (1.0, 1.0), (_reciprocal_ranks(dense), _reciprocal_ranks(keyword))
    else:
        weights = (settings.dense_weight, 1 - settings.dense_weight)
        parts = (_scaled(dense), _scaled(keyword))
    fused = [
        Hit(passage, weights[0] * parts[0].get(id, 0.0) + weights[1] * parts[1].get(id, 0.0), scores)
        for id, (passage, scores) in found.items()
    ]
    return sorted(fused, key=lambda hit: -hit.score)[:k]


def _reciprocal_ranks(hits: Sequence[Hit]) -> Mapping[str, float]:
    """Cormack, Clarke & Büttcher, SIGIR 2009; scaled so that first place counts 1/2."""
    scale = (RRF_CONSTANT + 1) / 2
    return {hit.passage.id: scale / (RRF_CONSTANT + rank) for rank, hit in enumerate(hits, start=1)}


def _scaled(hits: Sequence[Hit]) -> Mapping[str, float]:
    """Linear: the worst candidate of this ranking gets 0, the best 1; a passage that is not in it gets 0."""
    return dict(zip((hit.passage.id for hit in hits), stretched([hit.score for hit in hits]), strict=True))


def stretched(scores: Sequence[float]) -> list[float]:
    """Linear: the lowest gets 0 and the highest 1; equal ones get 1."""
    worst, best = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - worst) / (best - worst) if best > worst else 1.0 for score in scores]
