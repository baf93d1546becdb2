"""What stores offer, as small protocols: read, write and maintain collections, and what only some stores can do.

A function asks for the smallest protocol that it needs. `Catalog` is what every store offers; for the rest, `require_…`
in `search_app.stores.catalog` returns the catalog as that protocol or raises the one error of a store without it.
Errors are those of `search_app.errors`, raised by the first call that needs what is missing or cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from search_app.manifest import Manifest
from search_app.protocols import FileChange, IndexWriter, PassageStore


class Index(PassageStore, Protocol):
    """A collection opened for reading, with the settings it was built with."""

    @property
    def manifest(self) -> Manifest: ...


class CatalogReader(Protocol):
    """Lists and opens collections for reading."""

    def names(self) -> list[str]: ...

    def describe(self, name: str) -> dict[str, object]:
        """Where the collection is stored and how much space it takes, for `info`."""
        ...

    def open(self, name: str) -> Index: ...

    def close(self) -> None: ...


class CatalogWriter(Protocol):
    """Opens collections for writing."""

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> IndexWriter:
        """Open or create a collection for one job. Raises IndexBusy while another job writes to it."""
        ...


class Maintenance(Protocol):
    """Checks and changes whole collections. All but `verify` raise IndexBusy while a job writes to the collection."""

    def verify(self, name: str) -> list[str]:
        """The problems found, one sentence each; empty for a sound index."""
        ...

    def compact(self, name: str) -> dict[str, object]:
        """Free the space of removed passages and refresh the caches; returns `describe`."""
        ...

    def rollback(self, name: str) -> int:
        """Swap the served index with the previous one; returns the new generation."""
        ...

    def drop(self, name: str) -> None:
        """Delete a collection with its previous index, caches and replica.

        Original files, uploads and queued jobs stay. A killed call leaves the collection or nothing.
        An open reader finishes its current call; its next one raises IndexNotFound.
        """
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a collection, which keeps its previous index and its generation.

        Uploads and queued jobs keep the old name. A killed call leaves one of the two names.
        Raises ConfigurationError for a bad or taken name.
        """
        ...


class Catalog(CatalogReader, CatalogWriter, Maintenance, Protocol):
    """What every store offers."""


@runtime_checkable
class Repairs(Protocol):
    """A store that can rebuild derived data from its documents."""

    def repair(self, name: str) -> list[str]:
        """Rebuild whatever is damaged and derived; returns what was done and what is lost."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """A store that copies collections to folders and back."""

    def snapshot(self, name: str, destination: Path) -> None:
        """Copy one generation into the new folder `destination`, while others may write."""
        ...

    def restore(self, name: str, source: Path, *, replace: bool = False) -> int:
        """Check a snapshot and serve it as this collection; returns its generation.

        Raises ConfigurationError when the collection exists, unless `replace`; `rollback` then undoes it.
        """
        ...


@runtime_checkable
class ShardWriters(Protocol):
    """A store that several independent jobs can fill together."""

    def shard_writer(
        self, name: str, manifest: Manifest, shard: tuple[int, int], *, rebuild: bool = False
    ) -> IndexWriter:
        """The writer of shard (i, n), 1 <= i <= n; the index is published when all n are done. (1, 1) does the rest."""
        ...


@runtime_checkable
class Exports(Protocol):
    """A store that can return everything it holds."""

    def export(self, name: str) -> tuple[Manifest, Iterator[FileChange]]: ...


@runtime_checkable
class Replicas(Protocol):
    """A store with a local replica that answers while its server cannot."""

    def replicate(self, name: str) -> int:
        """Copy the collection to the replica; returns the number of passages."""
        ...
