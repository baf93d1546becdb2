"""Where rows stand in an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Rows
from search_app.types import Matrix

NONE: Rows = np.empty(0, dtype=np.int64)
_DENSE = 16
"""Row numbers for each one wanted, up to which a table over all of them pays."""


def positions_of(wanted: Rows, rows: Rows) -> NDArray[np.int64]:
    """Where `wanted` are in `rows` (ascending); those that are not there are left out."""
    if not len(rows):
        return NONE
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:  # without a gap, as in an index that nothing was removed from
        return wanted[(wanted >= first) & (wanted <= last)] - first
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    found: NDArray[np.int64] = places[rows[places] == wanted]
    return found


def sorted_positions_of(among: Rows, rows: Rows) -> NDArray[np.int64]:
    """As `positions_of`, for ascending rows that may be most of all: then a table is quicker than a search for each."""
    if not len(rows) or len(among) * _DENSE < rows[-1]:
        return positions_of(among, rows)
    table = np.zeros(int(rows[-1]) + 1, dtype=bool)
    table[among[np.searchsorted(among, 0) : np.searchsorted(among, len(table))]] = True
    return np.flatnonzero(table[rows])


def empty_result(queries: Matrix, k: int) -> tuple[Matrix, Rows]:
    """What a search returns without a query or a row that matches."""
    return np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
