"""What every kind of store offers: collections to open, to write and to look after."""

from __future__ import annotations

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

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> IndexWriter: ...

    def verify(self, name: str) -> list[str]:
        """What is wrong with the index, in words; nothing for a sound one."""
        ...

    def rollback(self, name: str) -> int:
        """Serves the index as it was before the last job; returns the new generation."""
        ...

    def replicate(self, name: str) -> int:
        """Makes the embedded replica what the server holds; returns the number of passages."""
        ...

    def close(self) -> None: ...
