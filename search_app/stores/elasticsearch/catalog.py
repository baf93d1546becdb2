"""All collections of an installation on one Elasticsearch cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from search_app.errors import ConfigurationError, IndexNotFound
from search_app.manifest import Manifest
from search_app.protocols import FileChange, IndexWriter
from search_app.settings import Settings, check_collection_name
from search_app.stores.elasticsearch.connection import Connection, reason
from search_app.stores.elasticsearch.export import export
from search_app.stores.elasticsearch.index_versions import delete_indices, set_meta, swap
from search_app.stores.elasticsearch.indices import all_indices, collections
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.rename import rename, taken
from search_app.stores.elasticsearch.shard_set import abandon, require_none
from search_app.stores.elasticsearch.shards import ShardWriter
from search_app.stores.elasticsearch.store import ElasticsearchStore
from search_app.stores.elasticsearch.verify import verify
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

_POLL_SECONDS = 0.5


class ElasticsearchCatalog:
    """All collections share one connection."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings.elasticsearch, keyword=settings.keyword)

    def names(self) -> list[str]:
        return collections(self._connection)

    def describe(self, name: str) -> dict[str, object]:
        indices = all_indices(self._connection, check_collection_name(name))
        if indices.live is None:
            raise IndexNotFound(name)
        index = indices.live.index
        statistics = self._connection.job(
            lambda client: client.indices.stats(index=index, metric="store", filter_path="_all.primaries.store")
        )
        return {
            "elasticsearch": self._connection.where,
            "index": index,
            "previous": indices.live.previous,
            "quantisation": indices.live.vectors,
            "bytes": statistics["_all"]["primaries"]["store"]["size_in_bytes"],
        }

    def open(self, name: str) -> ElasticsearchStore:
        return ElasticsearchStore(self._connection, check_collection_name(name))

    def writer(self, name: str, manifest: Manifest, *, rebuild: bool = False) -> ElasticsearchWriter:
        return ElasticsearchWriter(self._connection, manifest, collection=check_collection_name(name), rebuild=rebuild)

    def shard_writer(
        self, name: str, manifest: Manifest, shard: tuple[int, int], *, rebuild: bool = False
    ) -> IndexWriter:
        check_collection_name(name)
        if shard[1] > 1:
            return ShardWriter(self._connection, manifest, collection=name, shard=shard, rebuild=rebuild)
        return ElasticsearchWriter(self._connection, manifest, collection=name, rebuild=rebuild, after_shards=True)

    def verify(self, name: str) -> list[str]:
        return verify(self._connection, check_collection_name(name))

    def compact(self, name: str) -> dict[str, object]:
        """Merge each shard of the live index into one segment."""
        live = all_indices(self._connection, check_collection_name(name)).live
        if live is None:
            raise IndexNotFound(name)
        started = self._connection.job(
            lambda client: client.indices.forcemerge(index=live.index, max_num_segments=1, wait_for_completion=False)
        )
        self._wait_for(started["task"])
        return self.describe(name)

    def rollback(self, name: str) -> int:
        lease = Lease(self._connection, check_collection_name(name))
        try:
            require_none(self._connection, name)
            indices = all_indices(self._connection, name)
            live, earlier = indices.live, indices.previous
            if live is None:
                raise IndexNotFound(name)
            if earlier is None:
                raise ConfigurationError(f"collection '{name}' has no previous index")
            restored = replace(earlier, generation=live.generation + 1, previous=live.index)
            set_meta(self._connection, restored)
            lease.require()
            swap(self._connection, name, live, restored)
            return restored.generation
        finally:
            lease.release()

    def drop(self, name: str) -> None:
        """The live index goes last, so a killed drop leaves the collection; run it again."""
        lease = Lease(self._connection, check_collection_name(name))
        try:
            abandon(self._connection, name)
            indices = all_indices(self._connection, name)
            for index in [*indices.others, *([indices.live.index] if indices.live else [])]:
                lease.require()
                delete_indices(self._connection, [index])
        finally:
            lease.release()
        if indices.live is None:
            raise IndexNotFound(name)

    def rename(self, old: str, new: str) -> None:
        """Clone the live and the previous index under the new name, which shares their files, and swap the alias."""
        if check_collection_name(new) == check_collection_name(old):
            raise taken(new)
        leases: list[Lease] = []
        try:
            for name in (old, new):
                leases.append(Lease(self._connection, name))
                require_none(self._connection, name)
            rename(self._connection, old, new, leases)
        finally:
            for lease in leases:
                lease.release()

    def export(self, name: str) -> tuple[Manifest, Iterator[FileChange]]:
        """The manifest and everything in the collection."""
        live = all_indices(self._connection, check_collection_name(name)).live
        if live is None:
            raise IndexNotFound(name)
        return Manifest.from_json(live.manifest, oldest=1), export(self._connection, live)

    def close(self) -> None:
        self._connection.close()

    def _wait_for(self, task: str) -> None:
        """Without a time limit: merging a large index takes minutes."""

        def look(client: Any) -> Any:
            # The client's own method warns that this API may change, but it has been stable since version 5.
            return client.perform_request("GET", f"/_tasks/{task}", headers={"accept": "application/json"})

        while not (about := self._connection.job(look))["completed"]:
            time.sleep(_POLL_SECONDS)
        if "error" in about:
            raise self._connection.refused(reason(about))
