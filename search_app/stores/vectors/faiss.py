"""Vectors in memory, searched exactly by FAISS: the one door to the library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.errors import MissingExtra
from search_app.types import Matrix


class VectorIndex:
    """Inner product over unit vectors; row numbers of the store are the ids. Not thread-safe: the store locks."""

    def __init__(self, dim: int) -> None:
        self._faiss = _import()
        self._index = self._faiss.IndexIDMap2(self._faiss.IndexFlatIP(dim))
        self.ids: set[int] = set()

    def add(self, ids: NDArray[np.int64], vectors: Matrix) -> None:
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors), ids)
            self.ids.update(ids.tolist())

    def remove(self, ids: Iterable[int]) -> None:
        gone = np.fromiter(ids, dtype=np.int64)
        if len(gone):
            self._index.remove_ids(self._faiss.IDSelectorBatch(gone))
            self.ids.difference_update(gone.tolist())

    def search(
        self, vectors: Matrix, k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[Matrix, NDArray[np.int64]]:
        """Scores and ids, best first, (n, min(k, found)); `allowed` limits the search before the cut."""
        k = min(k, len(self.ids) if allowed is None else len(allowed))
        if k == 0:
            empty = np.empty((len(vectors), 0))
            return empty.astype(np.float32), empty.astype(np.int64)
        parameters = None
        if allowed is not None:
            parameters = self._faiss.SearchParameters(sel=self._faiss.IDSelectorBatch(allowed))
        scores, ids = self._index.search(np.ascontiguousarray(vectors), k, params=parameters)
        return scores, ids


def describe() -> dict[str, Any]:
    """Version and devices, for `info`."""
    faiss = _import()
    return {"version": faiss.__version__, "gpus": faiss.get_num_gpus()}


def _import() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("faiss", "cpu") from error
    except RuntimeError as error:  # a GPU build without the libraries it needs
        raise MissingExtra(f"faiss ({error})", "cpu") from error
    return faiss
