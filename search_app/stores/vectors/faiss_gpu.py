"""Search by FAISS on a GPU, with what its GPU indexes lack: selectors, removal and more than 2,048 hits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import faiss
from search_app.stores.vectors.device import Found, Mask, Positions, Rounding, failure
from search_app.stores.vectors.ranking import merge_top_k
from search_app.stores.vectors.rows import empty_result
from search_app.types import Matrix

SEGMENT = 1 << 20
"""Vectors in one FAISS index, which limits what an addition or compaction copies."""
MAX_HITS = 2048
"""The most hits that a search on a GPU returns."""
_BLOCK = 1 << 16
"""Vectors read back from the GPU at a time."""

Selector = Callable[[Mask], Any]
"""Makes search parameters that allow only the positions in the mask."""


class FaissScan:
    """Flat inner-product indexes made by `new_index`.

    `selector` is given if FAISS obeys it (self-test). Without it, more hits are fetched and masked; if they are too
    few, the allowed vectors are read back and compared here.
    """

    def __init__(
        self, new_index: Callable[[], Any], dim: int, *, name: str, float16: bool = False,
        selector: Selector | None = None, segment: int = SEGMENT,
    ) -> None:  # fmt: skip
        self._new_index, self._dim, self._name = new_index, dim, name
        self._type = np.float16 if float16 else np.float32
        self._selector, self._segment = selector, segment
        self._indexes: list[Any] = []
        self._rounding = Rounding(dim)

    @property
    def name(self) -> str:
        return self._name

    def __len__(self) -> int:
        return sum(int(index.ntotal) for index in self._indexes)

    def add(self, vectors: Matrix) -> None:
        self._rounding.observe(*self._norms(vectors))
        with self._translated():
            done = 0
            while done < len(vectors):
                if not self._indexes or self._indexes[-1].ntotal >= self._segment:
                    self._indexes.append(self._new_index())
                some = vectors[done : done + self._segment - self._indexes[-1].ntotal]
                self._indexes[-1].add(np.ascontiguousarray(some, dtype=np.float32))
                done += len(some)

    def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        wanted = np.ascontiguousarray(queries, dtype=np.float32)
        found, start = empty_result(wanted, 0), 0
        with self._translated():
            for index in self._indexes:
                end = start + int(index.ntotal)
                scores, positions = self._within(index, wanted, k, None if mask is None else mask[start:end])
                found = merge_top_k(found, (scores, positions + start), k)
                start = end
        return found

    def compact(self, mask: Mask) -> None:
        with self._translated():
            start = 0
            for index in self._indexes:
                size = int(index.ntotal)
                chosen = mask[start : start + size]
                start += size
                if not chosen.all():
                    vectors = index.reconstruct_n(0, size)[chosen]
                    index.reset()
                    index.add(np.ascontiguousarray(vectors))
            self._indexes = [index for index in self._indexes if index.ntotal]

    def error_bound(self, queries: Matrix) -> float:
        return self._rounding.error_bound(*self._norms(queries))

    def describe(self) -> dict[str, object]:
        return {
            "device": self.name,
            "precision": np.dtype(self._type).name,
            "selectors": self._selector is not None,
            "bytes": len(self) * self._dim * np.dtype(self._type).itemsize,
        }

    def _within(self, index: Any, queries: Matrix, k: int, mask: Mask | None) -> Found:
        """The best k of one index."""
        size = int(index.ntotal)
        count = size if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        if k == 0:
            return empty_result(queries, 0)
        if mask is None or count == size:
            if k <= MAX_HITS:
                found: Found = index.search(queries, k)
                return found
            return self._read_back(index, queries, k, np.arange(size))
        if self._selector is not None and k <= MAX_HITS:
            found = index.search(queries, k, params=self._selector(mask))
            return found
        fetch = min(k + size - count, math.ceil(2 * k * size / count) + 16)
        if fetch > MAX_HITS:
            return self._read_back(index, queries, k, np.flatnonzero(mask))
        scores, positions = index.search(queries, fetch)
        allowed = mask[positions]
        first = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
        scores, positions = np.take_along_axis(scores, first, axis=1), np.take_along_axis(positions, first, axis=1)
        short = np.flatnonzero(np.count_nonzero(allowed, axis=1) < k)
        if len(short):
            scores[short], positions[short] = self._read_back(index, queries[short], k, np.flatnonzero(mask))
        return scores, positions

    def _read_back(self, index: Any, queries: Matrix, k: int, positions: Positions) -> Found:
        found = empty_result(queries, 0)
        for start in range(0, len(positions), _BLOCK):
            some = positions[start : start + _BLOCK]
            scores = queries @ index.reconstruct_batch(some).T
            found = merge_top_k(found, (scores, np.broadcast_to(some, scores.shape)), k)
        return found

    def _norms(self, vectors: Matrix) -> tuple[float, float]:
        rounded: NDArray[np.float32] = vectors.astype(self._type).astype(np.float32)
        away = np.linalg.norm(vectors - rounded, axis=1).max(initial=0.0)
        return float(np.linalg.norm(vectors, axis=1).max(initial=0.0)), float(away)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            raise failure(self.name, error) from error


def faiss_scan(dim: int, device: int, *, float16: bool, scratch_mb: int, selectors: bool) -> FaissScan:
    """A scan on a GPU; all its indexes share one set of resources."""
    library = faiss.library()
    resources = library.StandardGpuResources()
    resources.setTempMemory(scratch_mb << 20)
    resources.setPinnedMemory(scratch_mb << 20)
    config = library.GpuIndexFlatConfig()
    config.device, config.useFloat16 = device, float16
    return FaissScan(
        lambda: library.GpuIndexFlatIP(resources, dim, config),
        dim,
        name=f"faiss cuda:{device}",
        float16=float16,
        selector=bitmap_selector(library) if selectors else None,
    )


def bitmap_selector(library: Any) -> Selector:
    """Makes FAISS search parameters from a mask of allowed rows."""

    def selector(mask: Mask) -> Any:
        return library.SearchParameters(sel=library.IDSelectorBitmap(np.packbits(mask, bitorder="little")))

    return selector
