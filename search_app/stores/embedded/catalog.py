"""The collections of one folder."""

from __future__ import annotations

from search_app.errors import ConfigurationError
from search_app.manifest import Manifest
from search_app.protocols import IndexWriter
from search_app.settings import Settings
from search_app.stores.index import Index


class EmbeddedCatalog:
    """One folder with one SQLite file a collection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self) -> list[str]:
        return self._settings.collections()

    def describe(self, name: str) -> dict[str, object]:
        folder = self._settings.collection_folder(name)
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) if folder.is_dir() else 0
        return {"folder": str(folder), "bytes": size}

    def open(self, name: str) -> Index:
        from search_app.stores.embedded.store import SqliteStore

        return SqliteStore.open(self._settings.collection_folder(name), collection=name)

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> IndexWriter:
        from search_app.stores.embedded.writer import SqliteWriter

        return SqliteWriter(self._settings.collection_folder(name), manifest, collection=name, rebuild=rebuild)

    def verify(self, name: str) -> list[str]:
        from search_app.stores.embedded.verify import verify

        return verify(self._settings.collection_folder(name), collection=name)

    def rollback(self, name: str) -> int:
        raise ConfigurationError(
            "the embedded store keeps no earlier index",
            hint="index the earlier files again, or copy the folder beforehand",
            field="store",
        )

    def replicate(self, name: str) -> int:
        raise ConfigurationError(
            "the embedded store has no replica", hint="set SEARCH_APP_STORE=elasticsearch", field="store"
        )

    def close(self) -> None:
        pass
