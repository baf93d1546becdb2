"""Open a vector index: from its cache, on a GPU, flat, or newly trained."""

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
"""Returns an iterator over all (rows, vectors), rows ascending; may be called more than once."""
_SEED = 20_240_527


def open_index(
    dim: int, count: int, batches: Batches, *, arrays: Arrays | None, settings: VectorSettings, may_train: bool
) -> VectorIndex:
    """Restore the index from `arrays` (of `to_arrays`), or fill it from `batches`; a GPU index always uses `batches`.

    Raises IndexCorrupt for arrays of another version or index. Training is deterministic.
    """
    if gpu.wanted(settings, count):
        return gpu.open_gpu(dim, count, batches, settings)
    planned = plan_index(count, dim, settings)
    if arrays is not None and settings.index != "flat":
        return CompressedIndex.restored(dim, arrays, settings)
    if planned.kind == "compressed" and may_train:
        return _filled(_trained(dim, count, batches, planned, settings), batches)
    why = planned.why if planned.kind == "flat" else "the compressed index has no usable cache"
    return _filled(FlatIndex(dim, why=why), batches)


def _filled(index: VectorIndex, batches: Batches) -> VectorIndex:
    for rows, vectors in batches():
        index.add(rows, vectors)
    return index


def _trained(dim: int, count: int, batches: Batches, planned: IndexPlan, settings: VectorSettings) -> CompressedIndex:
    chosen = np.sort(np.random.default_rng(_SEED).choice(count, planned.parameters["sample"], replace=False))
    low, high = np.full(dim, np.inf, dtype=np.float32), np.full(dim, -np.inf, dtype=np.float32)
    parts, seen = [], 0
    for _, vectors in batches():
        first, last = np.searchsorted(chosen, (seen, seen + len(vectors)))
        parts.append(vectors[chosen[first:last] - seen])
        np.minimum(low, vectors.min(axis=0, initial=np.inf), out=low)
        np.maximum(high, vectors.max(axis=0, initial=-np.inf), out=high)
        seen += len(vectors)
    return CompressedIndex.trained(np.concatenate(parts), (low, high), planned, settings)
