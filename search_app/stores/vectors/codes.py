"""Vectors in a byte a dimension: near enough to rank by, with a bound on how near."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import faiss, ranking
from search_app.types import Matrix

Positions = NDArray[np.int64]
_MARGIN = 1 / 32
"""Of the range, on either side: what comes later may lie a little outside of what was there."""
_GATHER = 1 / 50
"""Up to this share of all, picking codes out is quicker than passing over the others."""


class Codes:
    """`error`: the largest distance of a vector that was added to what its code decodes to."""

    def __init__(self, low: NDArray[np.float32], high: NDArray[np.float32], *, error: float = 0.0) -> None:
        library = faiss.library()
        self.low, self.high, self.error, self._dim = low, high, error, len(low)
        self._index: Any = library.IndexScalarQuantizer(
            self._dim, library.ScalarQuantizer.QT_8bit, library.METRIC_INNER_PRODUCT
        )
        margin = (high - low) * np.float32(_MARGIN)
        self._index.train(np.stack((low - margin, high + margin)))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """(n, dim), a view that is good until the next `add`."""
        return faiss.view(self._index.codes, (len(self), self._dim))

    def add(self, vectors: Matrix) -> None:
        codes = self._index.sq.compute_codes(vectors)
        away = np.linalg.norm(vectors - self._index.sq.decode(codes), axis=1)
        self.error = max(self.error, float(away.max(initial=0.0)))
        self._index.add_sa_codes(codes)

    def add_bytes(self, codes: NDArray[np.uint8]) -> None:
        self._index.add_sa_codes(np.ascontiguousarray(codes))

    def scores(self, query: NDArray[np.float32], positions: Positions) -> NDArray[np.float32]:
        """Rough ones, float32 (n,)."""
        return self._decoded(positions) @ query

    def scan(self, queries: Matrix, k: int, positions: Positions | None) -> tuple[Matrix, Positions]:
        """The best k of these positions (None: all) by rough scores, falling; both (n, min(k, positions))."""
        if positions is not None and len(positions) <= len(self) * _GATHER:
            scores = queries @ self._decoded(positions).T
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(scores, order, axis=1), positions[order]
        parameters = None
        if positions is not None:
            k = min(k, len(positions))
            parameters = faiss.library().SearchParameters(sel=faiss.only(positions, len(self)))
        scores, found = self._index.search(queries, min(k, len(self)), params=parameters)
        return scores, found

    def slack(self, queries: Matrix) -> float:
        """How far an exact score of these queries can lie above the rough one (Cauchy-Schwarz)."""
        return self.error * float(np.linalg.norm(queries, axis=1).max(initial=0.0)) + ranking.ROUNDING

    def _decoded(self, positions: Positions) -> Matrix:
        decoded: Matrix = self._index.sq.decode(self.bytes[positions])
        return decoded
