"""Fuses two rankings into one. Raw scores of different retrievers are never compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_app.settings import RetrievalSettings
from search_app.types import Hit

RRF_CONSTANT = 60


def fuse(dense: Sequence[Hit], keyword: Sequence[Hit], settings: RetrievalSettings, *, k: int) -> list[Hit]:
    """The best k hits of both, by `settings.method`. Each hit keeps the raw scores of the retrievers that found it."""
    found: dict[str, Hit] = {}
    for hit in (*dense, *keyword):
        before = found.get(hit.passage.id)
        found[hit.passage.id] = Hit(hit.passage, 0.0, {**(before.scores if before else {}), **hit.scores})
    if settings.method == "rrf":
        parts = [(1.0, _reciprocal_ranks(dense)), (1.0, _reciprocal_ranks(keyword))]
    else:
        weight = settings.dense_weight
        parts = [(weight, _scaled(dense)), (1 - weight, _scaled(keyword))]
    fused = [
        Hit(hit.passage, sum(weight * scores.get(id, 0.0) for weight, scores in parts), hit.scores)
        for id, hit in found.items()
    ]
    return sorted(fused, key=lambda hit: -hit.score)[:k]


def _reciprocal_ranks(hits: Sequence[Hit]) -> Mapping[str, float]:
    """Cormack, Clarke & Büttcher, SIGIR 2009; scaled so that first place counts 1/2."""
    scale = (RRF_CONSTANT + 1) / 2
    return {hit.passage.id: scale / (RRF_CONSTANT + rank) for rank, hit in enumerate(hits, start=1)}


def _scaled(hits: Sequence[Hit]) -> Mapping[str, float]:
    """Linear: the worst candidate of this ranking gets 0, the best 1; a passage that is not in it gets 0."""
    if not hits:
        return {}
    worst, best = hits[-1].score, hits[0].score
    return {hit.passage.id: (hit.score - worst) / (best - worst) if best > worst else 1.0 for hit in hits}
