"""The collections in the data folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search_app.errors import ConfigurationError, IndexNotFound
from search_app.manifest import Manifest
from search_app.protocols import IndexWriter
from search_app.settings import Settings
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE

if TYPE_CHECKING:
    from search_app.stores.embedded.store import SqliteStore

_DROPPED = ".dropped-"
"""Prefix of a folder whose files are being deleted; no collection can have such a name."""


class EmbeddedCatalog:
    """Each collection is a folder with a SQLite file, its caches, and the index before the last rebuild or restore."""

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        self._settings = settings
        self._files = files or Files()

    def names(self) -> list[str]:
        return self._settings.collections()

    def describe(self, name: str) -> dict[str, object]:
        folder = self._settings.collection_folder(name)
        with closing(self.open(name)) as store:
            facts = store.describe()
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        return {"folder": str(folder), "bytes": sum(sizes.values()), "previous": sizes.get(PREVIOUS_FILE, 0), **facts}

    def open(self, name: str) -> SqliteStore:
        from search_app.stores.embedded.store import SqliteStore

        return SqliteStore.open(
            self._settings.collection_folder(name),
            collection=name,
            settings=self._settings.vectors,
            keyword=self._settings.keyword,
        )

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> IndexWriter:
        from search_app.stores.embedded.writer import SqliteWriter

        return SqliteWriter(
            self._settings.collection_folder(name),
            manifest,
            collection=name,
            rebuild=rebuild,
            settings=self._settings.vectors,
            files=self._files,
        )

    def verify(self, name: str) -> list[str]:
        from search_app.stores.embedded.verify import verify

        return verify(self._settings.collection_folder(name), collection=name)

    def repair(self, name: str) -> list[str]:
        from search_app.stores.embedded.repair import repair

        with self._locked(name) as folder:
            return repair(self._files, folder, self._settings.vectors, collection=name)

    def compact(self, name: str) -> dict[str, object]:
        from search_app.stores.embedded.compact import compact

        with self._locked(name) as folder:
            compact(self._files, folder, self._settings.vectors)
        return self.describe(name)

    def rollback(self, name: str) -> int:
        from search_app.stores.embedded.publish import rollback

        with self._locked(name) as folder:
            return rollback(self._files, folder, self._settings.vectors)

    def snapshot(self, name: str, destination: Path) -> None:
        from search_app.stores.embedded.snapshot import snapshot

        snapshot(self._files, self._settings.collection_folder(name), destination, collection=name)

    def restore(self, name: str, source: Path, *, replace: bool = False) -> int:
        from search_app.stores.embedded import snapshot

        folder = self._settings.collection_folder(name)
        contents = snapshot.read(self._files, source)
        with self._locked(name, new=True):
            if (folder / INDEX_FILE).exists() and not replace:
                raise ConfigurationError(
                    f"collection '{name}' already exists", hint="add --replace, or restore it under another name"
                )
            return snapshot.restore(self._files, folder, source, contents)

    def drop(self, name: str) -> None:
        """One rename takes the collection away. A killed drop may leave files behind, which the next one deletes."""
        self._delete_dropped()
        with self._locked(name) as folder:
            self._discard(folder)

    def rename(self, old: str, new: str) -> None:
        """One rename of the folder, with its caches and its previous index."""
        target = self._settings.collection_folder(new)
        self._delete_dropped()
        with self._locked(old) as folder:
            if new == old:
                raise _taken(new)
            with self._locked(new, new=True):
                if (target / INDEX_FILE).exists():
                    raise _taken(new)
                self._discard(target)
                self._files.replace(folder, target)

    def close(self) -> None:
        pass

    def _discard(self, folder: Path) -> None:
        aside = folder.with_name(f"{_DROPPED}{secrets.token_hex(4)}")
        self._files.replace(folder, aside)
        self._files.remove_folder(aside)

    def _delete_dropped(self) -> None:
        for folder in (self._settings.home / "collections").glob(f"{_DROPPED}*"):
            self._files.remove_folder(folder)

    @contextmanager
    def _locked(self, name: str, *, new: bool = False) -> Iterator[Path]:
        """Lock the collection's folder and clean up after a killed job."""
        from search_app.stores.embedded import publish
        from search_app.stores.embedded.lock import WriterLock

        folder = self._settings.collection_folder(name)
        if not new and not (folder / INDEX_FILE).exists():
            raise IndexNotFound(name)
        lock = WriterLock(self._files, folder, name)
        try:
            self._files.clear(folder)
            publish.recover(self._files, folder)
            yield folder
        finally:
            lock.release()


def _taken(name: str) -> ConfigurationError:
    return ConfigurationError(f"collection '{name}' already exists", hint="choose another name", field="collection")
