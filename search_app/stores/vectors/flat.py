"""Exact search over uncompressed vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import faiss, ranking
from search_app.stores.vectors.index import Lookup, Rows
from search_app.stores.vectors.rows import NONE, empty_result, positions_of, sorted_positions_of
from search_app.types import Matrix

_GATHER = 1 / 20
"""Up to this share of matching rows, gathering their vectors is quicker than a filtered scan."""


class FlatIndex:
    """Holds the exact vectors itself, so it never calls `exact`."""

    def __init__(self, dim: int, *, why: str = "") -> None:
        self._dim, self._why = dim, why
        self._index: Any = faiss.library().IndexFlatIP(dim)
        self._rows = NONE

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def degraded(self) -> str:
        return ""

    def add(self, rows: Rows, vectors: Matrix) -> None:
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        self._rows = np.concatenate((self._rows, rows))

    def remove(self, rows: Rows) -> None:
        gone = positions_of(np.unique(rows), self._rows)
        if len(gone):
            self._index.remove_ids(faiss.only(gone, len(self)))
            self._rows = np.delete(self._rows, gone)

    def search(self, vectors: Matrix, k: int, *, exact: Lookup, among: Rows | None = None) -> tuple[Matrix, Rows]:
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        chosen = None if among is None else sorted_positions_of(among, self._rows)
        matching = len(self) if chosen is None else len(chosen)
        k = min(k, matching)
        if not k or not len(queries):
            return empty_result(queries, k)
        if chosen is not None and matching <= max(k, len(self) * _GATHER):
            picked = self._vectors(chosen)
            found = [ranking.best(ranking.inner(query, picked), chosen, k) for query in queries]
            return np.stack([scores for scores, _ in found]), self._rows[np.stack([place for _, place in found])]
        parameters = None
        if chosen is not None and matching < len(self):
            parameters = faiss.library().SearchParameters(sel=faiss.only(chosen, len(self)))

        def scan(some: Matrix, count: int) -> tuple[Matrix, Rows]:
            found: tuple[Matrix, Rows] = self._index.search(some, min(count, matching), params=parameters)
            return found

        def more(query: int, count: int) -> ranking.Ranked:
            scores, places = scan(queries[query : query + 1], count)
            return scores[0], places[0]

        ranked = list(zip(*scan(queries, ranking.initial_k(k)), strict=True))
        scores, places = ranking.rerank_exact(
            queries, ranked, k, exact=self._vectors, error_bound=ranking.ROUNDING, matching=matching, more=more
        )
        return scores, self._rows[places]

    def describe(self) -> dict[str, object]:
        return {"kind": "flat", "why": self._why, "bytes": len(self) * (4 * self._dim + self._rows.itemsize)}

    def to_arrays(self) -> None:
        return None

    def _vectors(self, positions: NDArray[np.int64]) -> Matrix:
        held: Matrix = faiss.view(self._index.codes, (len(self), 4 * self._dim)).view(np.float32)
        return held[positions]
