"""Find row numbers in an ascending array of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Rows
from search_app.types import Matrix

NONE: Rows = np.empty(0, dtype=np.int64)
_DENSE = 16
"""Row numbers per wanted row up to which a lookup table is quicker than a binary search."""


def positions_of(wanted: Rows, rows: Rows) -> NDArray[np.int64]:
    """Indexes in `rows` (ascending) of the `wanted` rows that it contains, in the order of `wanted`."""
    if not len(rows):
        return NONE
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:  # consecutive: nothing was removed yet
        return wanted[(wanted >= first) & (wanted <= last)] - first
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    found: NDArray[np.int64] = places[rows[places] == wanted]
    return found


def sorted_positions_of(wanted: Rows, rows: Rows) -> NDArray[np.int64]:
    """The same for ascending `wanted`, which may be most of `rows`."""
    if not len(rows) or len(wanted) * _DENSE < rows[-1] - rows[0]:
        return positions_of(wanted, rows)
    first, last = int(rows[0]), int(rows[-1])
    table = np.zeros(last - first + 1, dtype=bool)
    table[wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last + 1)] - first] = True
    return np.flatnonzero(table[rows - first])


def empty_result(queries: Matrix, k: int) -> tuple[Matrix, Rows]:
    """The result of a search without queries or matching rows."""
    return np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
