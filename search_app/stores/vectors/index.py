"""The protocol of vector indexes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

Rows = NDArray[np.int64]
"""Row numbers of passages, int64; they ascend over time and are never reused."""
Lookup = Callable[[Rows], Matrix]
"""Reads the exact vectors of rows, in their order, float32 (n, dim)."""
Arrays = Mapping[str, NDArray[np.generic]]
"""The arrays of a cache file, by name."""


class VectorIndex(Protocol):
    """Search by inner product over unit vectors. Not thread-safe.

    `search` returns scores and rows, best first, both (n, min(k, matching)). Scores are exact; `exact` supplies vectors
    that the index itself holds only compressed. `among` (ascending rows) filters before the cut; unknown rows in it are
    ignored.
    """

    def add(self, rows: Rows, vectors: Matrix) -> None:
        """Add vectors (n, dim); `rows` ascend and are greater than all earlier ones."""
        ...

    def remove(self, rows: Rows) -> None:
        """Remove rows; unknown ones are ignored."""
        ...

    def search(self, vectors: Matrix, k: int, *, exact: Lookup, among: Rows | None = None) -> tuple[Matrix, Rows]: ...

    def __len__(self) -> int:
        """The number of rows."""
        ...

    @property
    def degraded(self) -> str:
        """Why the index does not run on the device in the settings; empty if it does."""
        ...

    def describe(self) -> dict[str, object]:
        """Kind, parameters, reason and bytes in memory, for `info`."""
        ...

    def to_arrays(self) -> Arrays | None:
        """The content for the cache; None if rebuilding from the exact vectors is as quick."""
        ...
