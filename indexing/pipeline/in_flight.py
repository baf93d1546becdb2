"""Vectors between the encoder and the index."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


class InFlightVectors:
    """Vectors that are being computed or wait to be written: a text that comes again meanwhile is not encoded again.

    A batch claims keys before the index is asked for them, and gives them back when it is written.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, int] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def claim(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Those of the distinct keys that an earlier batch brings; they stay until this batch gives them back, too."""
        with self._lock:
            found = tuple(key for key in keys if key in self._claims)
            for key in found:
                self._claims[key] += 1
        return found

    def announce(self, keys: Iterable[str]) -> None:
        """This batch brings them; none of them is claimed."""
        with self._lock:
            self._claims.update(dict.fromkeys(keys, 1))

    def bring(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        with self._lock:
            self._vectors |= vectors

    def of(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with self._lock:
            return {key: self._vectors[key] for key in keys}

    def give_back(self, keys: Iterable[str]) -> None:
        with self._lock:
            for key in keys:
                self._claims[key] -= 1
                if not self._claims[key]:
                    del self._claims[key], self._vectors[key]
