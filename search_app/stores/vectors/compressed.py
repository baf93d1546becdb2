"""Compressed vectors: 1 bit per dimension finds candidates, 8 bits refine them, exact vectors rank them.

Candidates come from RaBitQ (Gao and Long, SIGMOD 2024) in an inverted file. The error of scores from 8-bit codes is
bounded, so exact vectors are read only until the order is certain. For a filter that matches few passages, all their
8-bit codes are scanned, which makes the result exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexCorrupt
from search_app.settings import VectorSettings
from search_app.stores.vectors import faiss, ranking
from search_app.stores.vectors.codes import Codes
from search_app.stores.vectors.index import Arrays, Lookup, Rows
from search_app.stores.vectors.plan import IndexPlan, bytes_per_vector
from search_app.stores.vectors.rows import NONE, empty_result, positions_of, sorted_positions_of
from search_app.types import Matrix

_LAYOUT = 1
"""Version of the arrays in the cache."""
_BLOCK = 8_192
"""Exact vectors read at a time when all matching ones are compared."""
_PARALLEL_LISTS = 14
"""FAISS's `implem` that splits the lists of one query among the threads."""
_BATCH = 64
"""Queries whose candidates are in memory at a time."""


class CompressedIndex:
    """A trained index. Removed rows are deleted from `lists` and masked in the codes."""

    def __init__(self, lists: Any, codes: Codes | None, settings: VectorSettings, *, probes: int, why: str) -> None:
        self._lists, self._codes, self._settings = lists, codes, settings
        self._probes, self._why = min(settings.probes or probes, lists.nlist), why
        self._rows, self._alive, self._count = NONE, np.empty(0, dtype=bool), 0

    @classmethod
    def trained(
        cls,
        sample: Matrix,
        bounds: tuple[NDArray[np.float32], NDArray[np.float32]],
        planned: IndexPlan,
        settings: VectorSettings,
    ) -> CompressedIndex:
        """An empty index. `bounds`: the least and the greatest value of each dimension over all vectors."""
        library = faiss.library()
        dim, wanted = sample.shape[1], planned.parameters
        lists = library.IndexIVFRaBitQFastScan(
            library.IndexFlatIP(dim), dim, wanted["lists"], library.METRIC_INNER_PRODUCT, 32, True, 1
        )
        lists.cp.niter, lists.cp.min_points_per_centroid = 10, 1
        lists.train(sample)
        codes = Codes(*bounds) if wanted["codes"] else None
        return cls(lists, codes, settings, probes=wanted["probes"], why=planned.why)

    @classmethod
    def restored(cls, dim: int, arrays: Arrays, settings: VectorSettings) -> CompressedIndex:
        """Restore from the arrays of `to_arrays`, which may be read-only. Raises IndexCorrupt."""
        try:
            if arrays["layout"].tolist() != [_LAYOUT]:
                raise ValueError("unknown layout")
            rows, why = np.array(arrays["rows"], dtype=np.int64), arrays["why"].tobytes().decode()
            lists = faiss.restored(np.asarray(arrays["lists"], dtype=np.uint8))
            probes = int(arrays["probes"].item())
            codes = Codes.restored(arrays, rows) if "codes" in arrays else None
            if (lists.d, lists.ntotal) != (dim, len(rows)) or (codes is not None and codes.dim != dim):
                raise ValueError("its parts belong to different indexes")
        except (KeyError, ValueError) as error:
            raise IndexCorrupt(
                f"cache of the vector index: {error}", hint="run: search-index verify --repair"
            ) from error
        index = cls(lists, codes, settings, probes=probes, why=why)
        index._rows, index._alive, index._count = rows, np.ones(len(rows), dtype=bool), len(rows)
        return index

    def __len__(self) -> int:
        return self._count

    @property
    def degraded(self) -> str:
        return ""

    def add(self, rows: Rows, vectors: Matrix) -> None:
        if not len(rows):
            return
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._lists.add_with_ids(vectors, np.ascontiguousarray(rows))
        if self._codes is not None:
            self._codes.add(vectors)
        self._rows = np.concatenate((self._rows, rows))
        self._alive = np.concatenate((self._alive, np.ones(len(rows), dtype=bool)))
        self._count += len(rows)

    def remove(self, rows: Rows) -> None:
        gone = self._positions(np.unique(rows))
        if len(gone):
            self._lists.remove_ids(faiss.only(self._rows[gone], self._beyond))
            self._alive[gone] = False
            self._count -= len(gone)

    def search(self, vectors: Matrix, k: int, *, exact: Lookup, among: Rows | None = None) -> tuple[Matrix, Rows]:
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        chosen = None if among is None else self._positions(among)
        if chosen is not None and len(chosen) == len(self) > self._settings.exact_filters:
            chosen = None
        matching = len(self) if chosen is None else len(chosen)
        k = min(k, matching)
        if not k or not len(queries):
            return empty_result(queries, k)
        parts = [
            self._search(queries[start : start + _BATCH], k, exact, chosen, matching)
            for start in range(0, len(queries), _BATCH)
        ]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])

    def describe(self) -> dict[str, object]:
        each = bytes_per_vector(self._lists.d, codes=self._codes is not None)
        return {
            "kind": "compressed",
            "why": self._why,
            "lists": self._lists.nlist,
            "probes": self._probes,
            "candidates for 10 hits": self._candidates(10),
            "filters answered exactly up to": self._settings.exact_filters,
            "bits a dimension": [1] if self._codes is None else [1, 8],
            "bytes": each * len(self._rows),
        }

    def to_arrays(self) -> Arrays:
        """Without removed rows."""
        arrays: dict[str, NDArray[np.generic]] = {
            "layout": np.array([_LAYOUT]),
            "probes": np.array([self._probes]),
            "why": np.frombuffer(self._why.encode(), dtype=np.uint8),
            "rows": self._rows[self._alive],
            "lists": faiss.serialized(self._lists),
        }
        if self._codes is not None:
            arrays |= self._codes.to_arrays(self._rows, self._alive)
        return arrays

    @property
    def _beyond(self) -> int:
        """One more than the greatest row."""
        return int(self._rows[-1].item()) + 1 if len(self._rows) else 0

    def _positions(self, rows: Rows) -> NDArray[np.int64]:
        found = sorted_positions_of(rows, self._rows)
        living: NDArray[np.int64] = found[self._alive[found]]
        return living

    def _living(self, chosen: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """The positions to scan; None for all."""
        if chosen is None and self._count < len(self._rows):
            return np.flatnonzero(self._alive)
        return chosen

    def _candidates(self, k: int) -> int:
        """The number of candidates for k hits; grows slower than k: by default 500 for 10 and 3,155 for 100."""
        return max(round(self._settings.oversample * 10 * math.pow(max(k, 10) / 10, 0.8)), 2 * k)

    def _search(
        self, queries: Matrix, k: int, exact: Lookup, chosen: NDArray[np.int64] | None, matching: int
    ) -> tuple[Matrix, Rows]:
        wanted = self._candidates(k)
        if matching <= wanted or (chosen is not None and matching <= self._settings.exact_filters):
            return self._compared(queries, k, exact, chosen, matching)
        found = self._candidates_of(queries, wanted, chosen)
        error_bound = math.inf if self._codes is None else self._codes.error_bound(queries)
        enough = np.array([len(rows) >= k for _, rows in found])
        scores, rows = empty_result(queries, k)
        some = [one for one in found if len(one[1]) >= k]
        scores[enough], rows[enough] = ranking.rerank_exact(
            queries[enough], some, k, exact=exact, error_bound=error_bound
        )
        if not enough.all():
            scores[~enough], rows[~enough] = self._compared(queries[~enough], k, exact, chosen, matching)
        return scores, rows

    def _compared(
        self, queries: Matrix, k: int, exact: Lookup, chosen: NDArray[np.int64] | None, matching: int
    ) -> tuple[Matrix, Rows]:
        """Exact search over all matching rows, by their 8-bit codes if there are any."""
        living = self._living(chosen)
        if self._codes is None:
            return _compared_in_full(queries, k, exact, self._rows if living is None else self._rows[living])
        codes = self._codes

        def more(query: int, count: int) -> ranking.Ranked:
            scores, places = codes.scan(queries[query : query + 1], count, living)
            return scores[0], self._rows[places[0]]

        scores, places = codes.scan(queries, min(self._candidates(k), matching), living)
        ranked = list(zip(scores, self._rows[places], strict=True))
        return ranking.rerank_exact(
            queries, ranked, k, exact=exact, error_bound=codes.error_bound(queries), matching=matching, more=more
        )

    def _candidates_of(self, queries: Matrix, wanted: int, chosen: NDArray[np.int64] | None) -> list[ranking.Ranked]:
        """Candidates from the lists, refined by the 8-bit codes if there are any."""
        selector = None if chosen is None else faiss.only(self._rows[chosen], self._beyond)
        parameters = faiss.library().SearchParametersIVF(nprobe=self._probes, sel=selector)
        # By default FAISS uses one thread per query.
        self._lists.implem = _PARALLEL_LISTS if len(queries) == 1 else 0
        rough, rows = self._lists.search(queries, wanted, params=parameters)
        ranked = []
        for query, scores, found in zip(queries, rough, rows, strict=True):
            found, scores = found[found >= 0], scores[found >= 0]
            if self._codes is not None:
                scores = self._codes.scores(query, positions_of(found, self._rows))
                order = np.argsort(-scores, kind="stable")
                scores, found = scores[order], found[order]
            ranked.append((scores, found))
        return ranked


def _compared_in_full(queries: Matrix, k: int, exact: Lookup, rows: Rows) -> tuple[Matrix, Rows]:
    """Exact search over these rows, with vectors read in blocks."""
    best: list[ranking.Ranked] = [(np.empty(0, dtype=np.float32), NONE)] * len(queries)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        vectors = exact(block)
        for i, query in enumerate(queries):
            scores = np.concatenate((best[i][0], ranking.inner(query, vectors)))
            best[i] = ranking.best(scores, np.concatenate((best[i][1], block)), k)
    return np.stack([scores for scores, _ in best]), np.stack([found for _, found in best])
