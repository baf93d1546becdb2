from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search_app.stores.vectors.flat import FlatIndex
from search_app.types import Matrix


class Counting:
    """Records the queries of a FAISS index."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.queries = 0

    def search(self, queries: Matrix, *given: Any, **named: Any) -> Any:
        self.queries += len(queries)
        return self._index.search(queries, *given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_each_query_scans_all_vectors_once(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(2_000, 48)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = FlatIndex(48)
    flat.add(np.arange(2_000), vectors)
    counting = Counting(flat._index)
    monkeypatch.setattr(flat, "_index", counting)
    scores, rows = flat.search(vectors[:20], k, exact=lambda rows: vectors[rows])
    assert counting.queries == 20
    assert rows[:, 0].tolist() == list(range(20))
    assert scores.shape == (20, k)
