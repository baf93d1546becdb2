"""The collections that a process has open: each is opened once, by its first question."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from search_app.protocols import Encoder, PassageStore


@dataclass(frozen=True, eq=False)
class OpenCollection:
    """A collection that is open for reading, with the encoder that its index was built with."""

    store: PassageStore
    encoder: Encoder


class OpenCollections:
    """Opens collections by name and keeps them open. Safe to use from any number of threads.

    `open_collection` raises IndexNotFound and other errors of the store; the next call tries again after a failure.
    """

    def __init__(self, open_collection: Callable[[str], tuple[PassageStore, Encoder]]) -> None:
        self._open_collection = open_collection
        self._lock = threading.Lock()
        self._opened: dict[str, Future[OpenCollection]] = {}

    def get(self, name: str) -> OpenCollection:
        """The open collection; callers that come while it is being opened wait for it."""
        with self._lock:
            opening = self._opened.get(name)
            is_first = opening is None
            if opening is None:
                opening = self._opened[name] = Future()
        if is_first:
            # Without the lock: a slow server holds up only the questions to its own collection.
            try:
                opening.set_result(OpenCollection(*self._open_collection(name)))
            except BaseException as error:
                with self._lock:
                    self._opened.pop(name, None)
                opening.set_exception(error)
        return opening.result()

    def reopen(self, name: str, stale: OpenCollection) -> OpenCollection:
        """Close `stale` and open the collection again, unless another thread has done so already."""
        with self._lock:
            opening = self._opened.get(name)
            is_stale = opening is not None and opening.done() and opening.result() is stale
            if is_stale:
                del self._opened[name]
        if is_stale:
            stale.store.close()
        return self.get(name)

    def close(self) -> None:
        """Close every collection that is open."""
        with self._lock:
            for opening in self._opened.values():
                if opening.done():
                    opening.result().store.close()
            self._opened.clear()
