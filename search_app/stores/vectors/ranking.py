"""From candidates with rough scores to the exact ranking: the one place where a dense score is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Lookup, Rows
from search_app.stores.vectors.rows import nothing
from search_app.types import Matrix

Scores = NDArray[np.float32]
Ranked = tuple[Scores, Rows]
"""Of one query: rough scores, falling, and their rows."""
More = Callable[[int, int], Ranked]
"""(which query, how many): its best candidates again, that many of them or all that match."""
ROUNDING = 1e-5
"""How far two float32 computations of the inner product of unit vectors may lie apart."""
_TOGETHER = 32


def inner(query: Scores, vectors: Matrix) -> Scores:
    """Float32 (n,). A pair has the same bits whatever it is computed beside, which BLAS does not promise."""
    found: Scores = np.einsum("ij,j->i", vectors, query)
    return found


def best(scores: Scores, rows: Rows, k: int) -> Ranked:
    """The first k by score, equal ones by row."""
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def reach(k: int) -> int:
    """Rows of each query that `settle` looks at first."""
    return max(24, 2 * k)


def settle(
    queries: Matrix,
    ranked: Sequence[Ranked],
    k: int,
    *,
    exact: Lookup,
    slack: float,
    matching: int = 0,
    more: More | None = None,
) -> tuple[Matrix, Rows]:
    """Scores and rows, both (n, k), by exact vectors, of which it takes no more than the order is certain with.

    `slack` is how far an exact score can lie above the rough one: a row whose rough score is less than the k-th exact
    score by more than that cannot be among the first k. `ranked` holds at least k rows for each query; where that is
    not all of what is `matching`, `more` gives the rest.
    """
    if not len(queries):
        return nothing(queries, k)
    found: list[Ranked] = []
    for start in range(0, len(queries), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        rest = None if more is None else partial(_after, more, start)
        found += _settle(queries[part], list(ranked[part]), k, exact, slack, matching, rest)
    return np.stack([scores for scores, _ in found]), np.stack([rows for _, rows in found])


def _after(more: More, start: int, query: int, count: int) -> Ranked:
    return more(start + query, count)


def _settle(
    queries: Matrix, ranked: list[Ranked], k: int, exact: Lookup, slack: float, matching: int, more: More | None
) -> list[Ranked]:
    none: Ranked = (np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64))
    settled = [none] * len(queries)
    pending, look = list(range(len(queries))), reach(k)
    while pending:
        wanted = {}
        for i in pending:
            if more is not None and len(ranked[i][1]) < min(look, matching):
                ranked[i] = more(i, min(2 * look, matching))
            wanted[i] = np.setdiff1d(ranked[i][1][:look], settled[i][1])
        rows = np.unique(np.concatenate(list(wanted.values())))
        vectors = exact(rows)
        undecided = []
        for i, new in wanted.items():
            scores = inner(queries[i], vectors[np.searchsorted(rows, new)])
            settled[i] = np.concatenate((settled[i][0], scores)), np.concatenate((settled[i][1], new))
            rough = ranked[i][0]
            complete = look >= (matching if more is not None else len(rough))
            left = rough[min(look, len(rough)) - 1] + slack
            if not complete and np.partition(settled[i][0], -k)[-k] <= left:
                undecided.append(i)
        pending, look = undecided, 2 * look
    return [best(scores, rows, k) for scores, rows in settled]
