"""Vectors in one byte per dimension, with a bound on the error of their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import faiss, ranking
from search_app.stores.vectors.index import Arrays, Rows
from search_app.stores.vectors.ranking import Scores
from search_app.stores.vectors.rows import NONE, positions_of
from search_app.types import Matrix

Positions = NDArray[np.int64]
_MARGIN = 1 / 32
"""Added to the range of values on either side, for vectors that are added later."""
_GATHER_SHARE = 1 / 50
"""Up to this share of all codes, gathering them is quicker than a filtered scan for one query."""
_GATHER_COUNT, _GATHER_QUERIES = 250_000, 8
"""Up to this many codes, gathering them is quicker for this many queries."""
_BLOCK = 1_000
"""Codes compared at a time: as float32 they stay in the processor's cache."""
_ROOM = 0.55
"""The share of codes that is restored first."""


class Codes:
    """`low` and `high`: the least and the greatest value of each dimension.

    A vector outside this range is also kept uncompressed. `error`: the largest distance of any other vector from its
    decoded code.
    """

    def __init__(self, low: Scores, high: Scores, *, error: float = 0.0) -> None:
        library = faiss.library()
        self.low, self.high, self.error, self.dim = low, high, error, len(low)
        self._index: Any = library.IndexScalarQuantizer(
            self.dim, library.ScalarQuantizer.QT_8bit, library.METRIC_INNER_PRODUCT
        )
        margin = (high - low) * np.float32(_MARGIN)
        self._index.train(np.stack((low - margin, high + margin)))
        self._inside = float(np.linalg.norm(high - low + 2 * margin)) / 255 / 2 + ranking.ROUNDING
        # A code decodes to `least` plus `code` steps.
        least, most = self._index.sq.decode(np.stack((np.zeros(self.dim, np.uint8), np.full(self.dim, 255, np.uint8))))
        self._least, self._step = least, (most - least) / np.float32(255)
        self.far, self.far_vectors = NONE, np.empty((0, self.dim), dtype=np.float32)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The codes (n, dim), a view that is valid until the next `add`."""
        return faiss.view(self._index.codes, (len(self), self.dim))

    def add(self, vectors: Matrix) -> None:
        codes = self._index.sq.compute_codes(vectors)
        away = np.linalg.norm(vectors - self._index.sq.decode(codes), axis=1)
        far = np.flatnonzero(away > self._inside)
        self.error = max(self.error, float(away[away <= self._inside].max(initial=0.0)))
        self.far = np.concatenate((self.far, far + len(self)))
        self.far_vectors = np.concatenate((self.far_vectors, vectors[far]))
        self._index.add_sa_codes(codes)

    @classmethod
    def restored(cls, arrays: Arrays, rows: Rows) -> Codes:
        """Restore from `to_arrays`. Raises KeyError or ValueError for arrays that do not belong to these rows."""
        low, high, far_vectors = (np.array(arrays[name], dtype=np.float32) for name in ("low", "high", "far_vectors"))
        codes, far = np.asarray(arrays["codes"], dtype=np.uint8), positions_of(np.array(arrays["far"]), rows)
        if not (low.shape == high.shape == codes.shape[1:]) or far_vectors.shape != (len(far), len(low)):
            raise ValueError("shapes differ")
        if len(codes) != len(rows):
            raise ValueError(f"{len(rows)} rows, {len(codes)} codes")
        made = cls(low, high, error=float(arrays["error"].item()))
        # The second part doubles the capacity, which leaves room for additions.
        first = int(len(codes) * _ROOM)
        made._index.add_sa_codes(np.ascontiguousarray(codes[:first]))
        made._index.add_sa_codes(np.ascontiguousarray(codes[first:]))
        made.far, made.far_vectors = far, far_vectors
        return made

    def to_arrays(self, rows: Rows, alive: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
        """The content without removed rows; `rows` and `alive` by position."""
        far = alive[self.far]
        return {
            "low": self.low,
            "high": self.high,
            "error": np.array([self.error]),
            "codes": self.bytes[alive],
            "far": rows[self.far[far]],
            "far_vectors": self.far_vectors[far],
        }

    def scores(self, query: Scores, positions: Positions) -> Scores:
        """Approximate scores, float32 (n,)."""
        found: Scores = self._compared(query[np.newaxis], positions)[0]
        return found

    def scan(self, queries: Matrix, k: int, positions: Positions | None) -> tuple[Matrix, Positions]:
        """The best k of these positions (None: all): approximate scores and positions, (n, min(k, positions))."""
        if positions is not None and self._is_gathered(len(positions), len(queries)):
            return _first(k, self._compared(queries, positions), positions)
        near, far = positions, NONE
        if len(self.far):
            everything = np.arange(len(self)) if positions is None else positions
            near, far = np.setdiff1d(everything, self.far), np.intersect1d(everything, self.far)
        parameters = None
        if near is not None:
            parameters = faiss.library().SearchParameters(sel=faiss.only(near, len(self)))
        count = min(k, len(self) if near is None else len(near))
        scores, found = self._index.search(queries, count, params=parameters)
        if len(far):
            outside = self._compared(queries, far), np.broadcast_to(far, (len(queries), len(far)))
            return ranking.merge_top_k((scores, found), outside, k)
        return scores, found

    def error_bound(self, queries: Matrix) -> float:
        """The largest amount by which an exact score can exceed the approximate one (Cauchy-Schwarz)."""
        return self.error * float(np.linalg.norm(queries, axis=1).max(initial=0.0)) + ranking.ROUNDING

    def _is_gathered(self, positions: int, queries: int) -> bool:
        """Whether decoding only these, once for all queries, is quicker than a filtered scan for each."""
        return positions <= len(self) * _GATHER_SHARE or (queries >= _GATHER_QUERIES and positions <= _GATHER_COUNT)

    def _compared(self, queries: Matrix, positions: Positions) -> Matrix:
        scores = np.empty((len(queries), len(positions)), dtype=np.float32)
        codes = self.bytes
        # FAISS's decoder spends more time synchronising threads than on so little work.
        weights, start_scores = queries * self._step, (queries @ self._least)[:, np.newaxis]
        for start in range(0, len(positions), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores[:, block] = start_scores + weights @ codes[positions[block]].astype(np.float32).T
        if len(self.far):
            far = np.isin(positions, self.far)
            scores[:, far] = queries @ self.far_vectors[np.searchsorted(self.far, positions[far])].T
        return scores


def _first(k: int, scores: Matrix, positions: Positions) -> tuple[Matrix, Positions]:
    """The best k for each query, by descending score."""
    if k < len(positions):
        chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, found = np.take_along_axis(scores, chosen, axis=1), positions[chosen]
    else:
        found = np.broadcast_to(positions, scores.shape)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
