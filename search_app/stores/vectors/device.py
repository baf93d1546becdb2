"""Approximate search on a device, with a bound on its error."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import ranking
from search_app.types import Matrix

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]
Found = tuple[Matrix, Positions]
"""Approximate scores, descending, and positions; both (queries, k)."""
_FLOAT32 = 2.0**-24


class DeviceFailure(Exception):
    """The device is missing, does not respond or gives wrong results."""


class OutOfMemory(DeviceFailure):
    """The request does not fit into the device's memory; a smaller one may."""


def failure(name: str, error: Exception) -> DeviceFailure:
    """Translate a library's exception."""
    message = str(error)
    full = isinstance(error, MemoryError) or any(words in message.lower() for words in ("out of memory", "allocat"))
    text = message.splitlines()[0] if message else type(error).__name__
    return (OutOfMemory if full else DeviceFailure)(f"{name}: {text}")


class Scan(Protocol):
    """Vectors on one device, at positions 0, 1, … in insertion order. Not thread-safe."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def add(self, vectors: Matrix) -> None: ...

    def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        """The best k allowed positions by approximate score; k is at most the number that `mask` (None: all) allows."""
        ...

    def compact(self, mask: Mask) -> None:
        """Keep only the positions in `mask` and renumber them."""
        ...

    def error_bound(self, queries: Matrix) -> float:
        """The largest possible difference between exact and approximate scores of these queries."""
        ...

    def describe(self) -> dict[str, object]: ...


class Rounding:
    """Bounds the error of scores computed from rounded vectors.

    |q·x - q'·x'| <= |q - q'| |x| + |q'| |x - x'| (Cauchy-Schwarz), and a float32 sum of `dim` products adds at most
    dim u |q'| |x'|. Four times that is used, since tensor cores truncate instead of rounding (Fasi et al. 2021,
    doi:10.7717/peerj-cs.330).
    """

    def __init__(self, dim: int) -> None:
        self._sum = 4 * dim * _FLOAT32
        self._norm = self._away = 0.0

    def observe(self, norm: float, away: float) -> None:
        """Record the largest norm of added vectors, and of their rounding errors."""
        self._norm, self._away = max(self._norm, norm), max(self._away, away)

    def error_bound(self, norm: float, away: float) -> float:
        """The bound for queries with this largest norm and rounding error."""
        rounded, stored = norm + away, self._norm + self._away
        return away * self._norm + rounded * self._away + self._sum * rounded * stored + ranking.ROUNDING * norm
