"""What every kind of store offers: collections to open, to write and to look after."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from search_app.manifest import Manifest
from search_app.protocols import IndexWriter, PassageStore


class Index(PassageStore, Protocol):
    """A collection that is open for reading, with what built it."""

    @property
    def manifest(self) -> Manifest: ...


class Catalog(Protocol):
    """Opens collections; errors are those of `search_app.errors`, at the first use of what cannot be reached."""

    def names(self) -> list[str]: ...

    def describe(self, name: str) -> dict[str, object]:
        """Where the collection lives and what it takes there, for `info`."""
        ...

    def open(self, name: str) -> Index: ...

    def writer(
        self, name: str, manifest: Manifest, *, rebuild: bool = False, shard: tuple[int, int] | None = None
    ) -> IndexWriter:
        """`shard` (i, n), i from 1 on: one of n that fill one index, seen when all are done; (1, 1) does all the rest.

        Raises IndexBusy where another job writes, ConfigurationError for a shard where only one can.
        """
        ...

    def verify(self, name: str) -> list[str]:
        """What is wrong with the index, in words; nothing for a sound one."""
        ...

    def repair(self, name: str) -> list[str]:
        """Makes anew what is derived and does not hold; returns what it did. What the truth lost stays lost."""
        ...

    def compact(self, name: str) -> dict[str, object]:
        """Gives back the space of what was removed and writes the caches anew; returns what `info` shows of it."""
        ...

    def rollback(self, name: str) -> int:
        """Serves the index as it was before the last job or rebuild; returns the new generation."""
        ...

    def snapshot(self, name: str, destination: Path) -> None:
        """A copy of one generation in the new folder `destination`, taken while others may write."""
        ...

    def restore(self, name: str, source: Path, *, replace: bool = False) -> int:
        """Serves a snapshot, whole and checked, as this collection; returns its generation.

        Refused where the collection exists, unless it is to be replaced; `rollback` then brings the old one back.
        """
        ...

    def drop(self, name: str) -> None:
        """Delete a collection with its previous index, caches and replica.

        The original files, uploads and queued jobs are left alone. A killed call leaves the collection or nothing.
        A reader that is open finishes its current call; the next one raises IndexNotFound.
        Raises IndexNotFound, or IndexBusy while a job writes to the collection.
        """
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a collection another name, under which it keeps its previous index and its generation.

        Uploads and queued jobs keep the old name. A killed call leaves one name or the other, never both or none.
        Raises IndexNotFound, IndexBusy while a job writes to either, ConfigurationError for a bad or taken name.
        """
        ...

    def replicate(self, name: str) -> int:
        """Makes the embedded replica what the server holds; returns the number of passages."""
        ...

    def close(self) -> None: ...
