"""Recall against exact nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

_TIE = 1e-5


def recall(vectors: Matrix, asked: Matrix, found: Sequence[Sequence[int]], products: Matrix) -> float:
    """Recall@k; a hit as near as the last of the k exact `products` counts as found."""
    near = [
        int((vectors[list(rows)] @ question >= values[-1] - _TIE).sum())
        for rows, question, values in zip(found, asked, products, strict=True)
    ]
    return sum(near) / products.size


def recall_on(chosen: range, found: Sequence[Sequence[int]], exact: NDArray[np.int64]) -> float:
    """Recall of the exact neighbours that are in `chosen`."""
    wanted = [{int(row) for row in truth if row in chosen} for truth in exact]
    hits = sum(len(rows & set(got)) for rows, got in zip(wanted, found, strict=True))
    return hits / sum(map(len, wanted))
