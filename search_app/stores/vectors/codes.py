"""Vectors in a byte a dimension: near enough to rank by, with a bound on how near."""

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
"""Of the range, on either side: what comes later may lie a little outside of what was there."""
_PICKED_ALONE = 1 / 50
"""Of all: up to this share, for one query."""
_PICKED_TOGETHER, _MANY = 250_000, 8
"""Up to so many, for so many queries or more."""
_BLOCK = 1_000
"""Codes compared at once: as numbers of 4 bytes they stay in the processor's cache."""
_ROOM = 0.55
"""The part that is restored first."""


class Codes:
    """`low` and `high`: the least and the largest value of each dimension.

    A vector far outside of them, which its code would not resemble, is kept in full beside its code. `error`: the
    largest distance of any other vector to what its code decodes to.
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
        # A code decodes to `least` and so many steps.
        least, most = self._index.sq.decode(np.stack((np.zeros(self.dim, np.uint8), np.full(self.dim, 255, np.uint8))))
        self._least, self._step = least, (most - least) / np.float32(255)
        self.far, self.far_vectors = NONE, np.empty((0, self.dim), dtype=np.float32)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """(n, dim), a view that is good until the next `add`."""
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
        """Raises KeyError or ValueError for arrays that `to_arrays` did not give for these rows."""
        low, high, far_vectors = (np.array(arrays[name], dtype=np.float32) for name in ("low", "high", "far_vectors"))
        codes, far = np.asarray(arrays["codes"], dtype=np.uint8), positions_of(np.array(arrays["far"]), rows)
        if not (low.shape == high.shape == codes.shape[1:]) or far_vectors.shape != (len(far), len(low)):
            raise ValueError("shapes differ")
        if len(codes) != len(rows):
            raise ValueError(f"{len(rows)} rows, {len(codes)} codes")
        made = cls(low, high, error=float(arrays["error"].item()))
        # The memory that the second part makes it grow to, twice as much, has room for the next to come.
        first = int(len(codes) * _ROOM)
        made._index.add_sa_codes(np.ascontiguousarray(codes[:first]))
        made._index.add_sa_codes(np.ascontiguousarray(codes[first:]))
        made.far, made.far_vectors = far, far_vectors
        return made

    def to_arrays(self, rows: Rows, alive: NDArray[np.bool_]) -> dict[str, NDArray[np.generic]]:
        """Of those that live; `rows` of the positions."""
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
        """Rough ones, float32 (n,)."""
        found: Scores = self._compared(query[np.newaxis], positions)[0]
        return found

    def scan(self, queries: Matrix, k: int, positions: Positions | None) -> tuple[Matrix, Positions]:
        """The best k of these positions (None: all) by rough scores, falling; both (n, min(k, positions))."""
        if positions is not None and self._is_picked(len(positions), len(queries)):
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
            scores = np.concatenate((scores, self._compared(queries, far)), axis=1)
            found = np.concatenate((found, np.broadcast_to(far, (len(queries), len(far)))), axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
        return scores, found

    def error_bound(self, queries: Matrix) -> float:
        """How far an exact score of these queries can lie above the rough one (Cauchy-Schwarz)."""
        return self.error * float(np.linalg.norm(queries, axis=1).max(initial=0.0)) + ranking.ROUNDING

    def _is_picked(self, positions: int, queries: int) -> bool:
        """Whether decoding these alone, once for all queries, is quicker than passing over the others for each."""
        return positions <= len(self) * _PICKED_ALONE or (queries >= _MANY and positions <= _PICKED_TOGETHER)

    def _compared(self, queries: Matrix, positions: Positions) -> Matrix:
        scores = np.empty((len(queries), len(positions)), dtype=np.float32)
        codes = self.bytes
        # Not by FAISS's own decoder: its threads wait for each other longer than so little work takes.
        weights, start_scores = queries * self._step, (queries @ self._least)[:, np.newaxis]
        for start in range(0, len(positions), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores[:, block] = start_scores + weights @ codes[positions[block]].astype(np.float32).T
        if len(self.far):
            far = np.isin(positions, self.far)
            scores[:, far] = queries @ self.far_vectors[np.searchsorted(self.far, positions[far])].T
        return scores


def _first(k: int, scores: Matrix, positions: Positions) -> tuple[Matrix, Positions]:
    """Of each query, falling."""
    if k < len(positions):
        chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, found = np.take_along_axis(scores, chosen, axis=1), positions[chosen]
    else:
        found = np.broadcast_to(positions, scores.shape)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
