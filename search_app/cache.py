"""A cache with a size in bytes: what was used least recently leaves first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

V = TypeVar("V")


class ByteCache(Generic[V]):
    """`size_of` gives the bytes of a value. With `max_bytes` 0 nothing is kept. `hits` and `misses` count the calls."""

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self._entries: LRUCache[Hashable, V] = LRUCache(max_bytes, getsizeof=size_of)
        self._size_of = size_of
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def get(self, key: Hashable) -> V | None:
        """The value, or None."""
        with self._lock:
            value = self._entries.get(key)
            self.hits += value is not None
            self.misses += value is None
            return value

    def put(self, key: Hashable, value: V) -> None:
        """Keep the value, unless it is larger than the whole cache."""
        with self._lock:
            if self._size_of(value) <= self._entries.maxsize:
                self._entries[key] = value

    def describe(self) -> dict[str, int]:
        """Counts and bytes, for `info`."""
        with self._lock:
            return {"hits": self.hits, "misses": self.misses, "bytes": int(self._entries.currsize)}
