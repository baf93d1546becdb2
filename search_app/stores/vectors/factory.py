"""A vector index for what the store holds: restored, flat, or trained and filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from search_app.settings import VectorSettings
from search_app.stores.vectors import gpu
from search_app.stores.vectors.compressed import CompressedIndex
from search_app.stores.vectors.flat import FlatIndex
from search_app.stores.vectors.index import Arrays, Rows, VectorIndex
from search_app.stores.vectors.plan import IndexPlan, plan_index
from search_app.types import Matrix

Batches = Callable[[], Iterator[tuple[Rows, Matrix]]]
"""Streams all rows, ascending, with their vectors; may be called more than once."""
_SEED = 20_240_527


def open_index(
    dim: int, count: int, batches: Batches, *, arrays: Arrays | None, settings: VectorSettings, may_train: bool
) -> VectorIndex:
    """What `arrays` (of `to_arrays`) hold is all that it holds then; else, and always on a GPU, all of `batches`.

    Raises IndexCorrupt for arrays of another program or index. Training takes the same sample each time.
    """
    if gpu.wanted(settings, count):
        return gpu.open_gpu(dim, count, batches, settings)
    choice = plan_index(count, dim, settings)
    if arrays is not None and settings.index != "flat":
        return CompressedIndex.restored(dim, arrays, settings)
    if choice.kind == "compressed" and may_train:
        return _filled(_trained(dim, count, batches, choice, settings), batches)
    why = choice.why if choice.kind == "flat" else "the cache of the compressed index cannot be used"
    return _filled(FlatIndex(dim, why=why), batches)


def _filled(index: VectorIndex, batches: Batches) -> VectorIndex:
    for rows, vectors in batches():
        index.add(rows, vectors)
    return index


def _trained(dim: int, count: int, batches: Batches, choice: IndexPlan, settings: VectorSettings) -> CompressedIndex:
    chosen = np.sort(np.random.default_rng(_SEED).choice(count, choice.parameters["sample"], replace=False))
    low, high = np.full(dim, np.inf, dtype=np.float32), np.full(dim, -np.inf, dtype=np.float32)
    parts, seen = [], 0
    for _, vectors in batches():
        first, last = np.searchsorted(chosen, (seen, seen + len(vectors)))
        parts.append(vectors[chosen[first:last] - seen])
        np.minimum(low, vectors.min(axis=0, initial=np.inf), out=low)
        np.maximum(high, vectors.max(axis=0, initial=-np.inf), out=high)
        seen += len(vectors)
    return CompressedIndex.trained(np.concatenate(parts), (low, high), choice, settings)
