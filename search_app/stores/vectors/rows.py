"""Where rows stand in an index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.index import Rows
from search_app.types import Matrix

NONE: Rows = np.empty(0, dtype=np.int64)


def positions_of(wanted: Rows, rows: Rows) -> NDArray[np.int64]:
    """Where `wanted` are in `rows` (ascending); those that are not there are left out."""
    if not len(rows):
        return NONE
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    found: NDArray[np.int64] = places[rows[places] == wanted]
    return found


def nothing(queries: Matrix, k: int) -> tuple[Matrix, Rows]:
    """What a search returns without a query or a row that matches."""
    return np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
