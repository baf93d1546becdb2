"""Rank candidates with approximate scores exactly: the only place where dense scores are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Lookup, Rows
from search_app.stores.vectors.rows import empty_result
from search_app.types import Matrix

Scores = NDArray[np.float32]
Ranked = tuple[Scores, Rows]
"""Approximate scores of one query, descending, and their rows."""
More = Callable[[int, int], Ranked]
"""(query, count): the best candidates of a query again, up to that many."""
ROUNDING = 1e-5
"""The largest difference between two float32 computations of an inner product of unit vectors."""
_BATCH = 32


def inner(query: Scores, vectors: Matrix) -> Scores:
    """Inner products, float32 (n,), bitwise reproducible for each pair, which BLAS does not guarantee."""
    found: Scores = np.einsum("ij,j->i", vectors, query)
    return found


def best(scores: Scores, rows: Rows, k: int) -> Ranked:
    """The first k by descending score, ties by row."""
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def merge_top_k(left: tuple[Matrix, Rows], right: tuple[Matrix, Rows], k: int) -> tuple[Matrix, Rows]:
    """The best k of two results (scores and rows, both (queries, n)), for each query."""
    scores: Matrix = np.concatenate((left[0], right[0]), axis=1)
    rows: Rows = np.concatenate((left[1], right[1]), axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def initial_k(k: int) -> int:
    """The number of candidates per query that `rerank_exact` reads first."""
    return max(24, 2 * k)


def rerank_exact(
    queries: Matrix,
    ranked: Sequence[Ranked],
    k: int,
    *,
    exact: Lookup,
    error_bound: float,
    matching: int = 0,
    more: More | None = None,
) -> tuple[Matrix, Rows]:
    """Rank by exact scores; returns scores and rows, both (n, k).

    `ranked` holds at least k candidates per query, with rough scores that are at most `error_bound` below the exact
    ones. Exact vectors are read only until no other candidate can enter the first k: one whose rough score plus
    `error_bound` is below the k-th exact score cannot. `more` fetches further candidates, up to `matching` per query.
    """
    if not len(queries):
        return empty_result(queries, k)
    found: list[Ranked] = []
    for start in range(0, len(queries), _BATCH):
        part = slice(start, start + _BATCH)
        rest = None if more is None else partial(_after, more, start)
        found += _rerank_batch(queries[part], list(ranked[part]), k, exact, error_bound, matching, rest)
    return np.stack([scores for scores, _ in found]), np.stack([rows for _, rows in found])


def _after(more: More, start: int, query: int, count: int) -> Ranked:
    return more(start + query, count)


def _rerank_batch(
    queries: Matrix, ranked: list[Ranked], k: int, exact: Lookup, error_bound: float, matching: int, more: More | None
) -> list[Ranked]:
    none: Ranked = (np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64))
    exact_so_far = [none] * len(queries)
    pending, look = list(range(len(queries))), initial_k(k)
    while pending:
        wanted = {}
        for i in pending:
            if more is not None and len(ranked[i][1]) < min(look, matching):
                ranked[i] = more(i, min(2 * look, matching))
            wanted[i] = np.setdiff1d(ranked[i][1][:look], exact_so_far[i][1])
        rows = np.unique(np.concatenate(list(wanted.values())))
        vectors = exact(rows)
        undecided = []
        for i, new in wanted.items():
            scores = inner(queries[i], vectors[np.searchsorted(rows, new)])
            exact_so_far[i] = np.concatenate((exact_so_far[i][0], scores)), np.concatenate((exact_so_far[i][1], new))
            rough = ranked[i][0]
            complete = look >= (matching if more is not None else len(rough))
            left = rough[min(look, len(rough)) - 1] + error_bound
            if not complete and np.partition(exact_so_far[i][0], -k)[-k] <= left:
                undecided.append(i)
        pending, look = undecided, 2 * look
    return [best(scores, rows, k) for scores, rows in exact_so_far]
