"""What a device does for a vector index: it compares roughly, with a bound on how roughly."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors import ranking
from search_app.types import Matrix

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]
Found = tuple[Matrix, Positions]
"""Rough scores, falling, and positions; both (queries, k)."""
_FLOAT32 = 2.0**-24


class DeviceFailure(Exception):
    """The device is not there, does not answer or answers wrongly; the message says what it said."""


class OutOfMemory(DeviceFailure):
    """What was asked does not fit; less may."""


def failure(name: str, error: Exception) -> DeviceFailure:
    """What a library raised, as a failure of the device of this name."""
    said = str(error)
    full = isinstance(error, MemoryError) or any(words in said.lower() for words in ("out of memory", "allocat"))
    return (OutOfMemory if full else DeviceFailure)(f"{name}: {said.splitlines()[0] if said else type(error).__name__}")


class Scan(Protocol):
    """Vectors on one device, at positions 0, 1, … in the order in which they came. One thread at a time."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def add(self, vectors: Matrix) -> None: ...

    def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        """The k best by rough scores, k at most the positions that `mask` (None: all) allows: none of the others is
        ever among them, and none of these is missed."""
        ...

    def compact(self, mask: Mask) -> None:
        """Drops the positions that `mask` does not allow; the others move up."""
        ...

    def error_bound(self, queries: Matrix) -> float:
        """How far an exact score of these queries can lie from the rough one."""
        ...

    def describe(self) -> dict[str, object]: ...


class Rounding:
    """How far scores of rounded vectors can lie from exact ones.

    |q·x - q'·x'| <= |q - q'| |x| + |q'| |x - x'| (Cauchy-Schwarz), and a float32 sum of `dim` products adds at most
    dim u |q'| |x'|; four times that, since tensor cores cut where they should round (Fasi et al. 2021,
    doi:10.7717/peerj-cs.330).
    """

    def __init__(self, dim: int) -> None:
        self._sum = 4 * dim * _FLOAT32
        self._norm = self._away = 0.0

    def observe(self, norm: float, away: float) -> None:
        """The largest norm of vectors that were added, and of what rounding took from them."""
        self._norm, self._away = max(self._norm, norm), max(self._away, away)

    def error_bound(self, norm: float, away: float) -> float:
        """For queries with these largest norms."""
        rounded, held = norm + away, self._norm + self._away
        return away * self._norm + rounded * self._away + self._sum * rounded * held + ranking.ROUNDING * norm


def merged(left: Found, right: Found, k: int) -> Found:
    """The k best of both."""
    scores: Matrix = np.concatenate((left[0], right[0]), axis=1)
    positions: Positions = np.concatenate((left[1], right[1]), axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)
