"""What every vector index promises, whatever it runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

Rows = NDArray[np.int64]
"""Row numbers of passages; they ascend with time and are never used twice."""
Lookup = Callable[[Rows], Matrix]
"""The exact vectors of these rows, in their order, float32 (n, dim), from the truth."""
Arrays = Mapping[str, NDArray[np.generic]]
"""What an index keeps in its cache file, by name."""


class VectorIndex(Protocol):
    """Inner product over unit vectors. Not thread-safe: the store locks.

    `search` gives scores and rows, best first, both (n, min(k, rows that match)); scores are exact, taken from
    `exact` wherever the index itself holds less than the full vectors. `among` (ascending) limits the search before
    the cut; rows of it that the index does not hold are left out.
    """

    def add(self, rows: Rows, vectors: Matrix) -> None:
        """`rows` ascend and are greater than all before."""
        ...

    def remove(self, rows: Rows) -> None:
        """Rows that are not there are left out."""
        ...

    def search(self, vectors: Matrix, k: int, *, exact: Lookup, among: Rows | None = None) -> tuple[Matrix, Rows]: ...

    def __len__(self) -> int:
        """Rows that can be found."""
        ...

    @property
    def degraded(self) -> str:
        """Why it does not run where the settings want it (a lost device); empty where it does."""
        ...

    def describe(self) -> dict[str, object]:
        """Kind, parameters, why they were chosen, bytes in memory: for `info`."""
        ...

    def to_arrays(self) -> Arrays | None:
        """For the cache; None for an index that is made from the exact vectors as quickly."""
        ...
