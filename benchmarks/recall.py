"""How much of the exact answer was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_app.types import Matrix

_TIE = 1e-5


def recall(vectors: Matrix, asked: Matrix, found: Sequence[Sequence[int]], products: Matrix) -> float:
    """Recall@k; what is as near as the last of the k exact `products` counts as one of them."""
    near = [
        int((vectors[list(rows)] @ question >= values[-1] - _TIE).sum())
        for rows, question, values in zip(found, asked, products, strict=True)
    ]
    return sum(near) / products.size


def recall_on(chosen: range, found: Sequence[Sequence[int]], exact: NDArray[np.int64]) -> float:
    """Of those among the exact ones that are in `chosen`, the share that was found."""
    wanted = [{int(row) for row in truth if row in chosen} for truth in exact]
    hits = sum(len(rows & set(got)) for rows, got in zip(wanted, found, strict=True))
    return hits / sum(map(len, wanted))
