"""Index versions: each job writes a new version of the index, which an alias swap publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from search_app.errors import BackendUnavailable, IndexBusy, SearchAppError
from search_app.manifest import Manifest
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Busy, Connection, ExpectedStatus
from search_app.stores.elasticsearch.indices import Indices, all_indices
from search_app.stores.elasticsearch.records import Fields, fields_record
from search_app.stores.elasticsearch.schema import IndexVersion


class IndexVersions:
    """The versions of one collection, for a job that holds its lease."""

    def __init__(self, connection: Connection, manifest: Manifest, *, collection: str, rebuild: bool) -> None:
        self._connection = connection
        self._manifest = manifest
        self._collection = collection
        self.rebuild = rebuild

    def find(self) -> tuple[IndexVersion | None, IndexVersion | None]:
        """The live version, and an unfinished one to continue. Deletes all others except the previous one."""
        indices = all_indices(self._connection, self._collection)
        live = indices.live
        if live is not None and not self.rebuild:
            held = Manifest.from_json(live.manifest, oldest=1)
            held.require(self._manifest)
            self._manifest = self._manifest.with_words_of(held)
        version = self._usable(indices)
        kept = {found.index for found in (live, version, indices.previous) if found is not None}
        delete_indices(self._connection, [index for index in indices.others if index not in kept])
        return live, None if version is None else self._open(version)

    def new_version(self, live: IndexVersion | None, *, index: str = "") -> IndexVersion:
        """A version that does not exist yet, named `index` or with a new name."""
        base = None if self.rebuild else live
        settings = self._connection.settings
        return IndexVersion(
            index or schema.new_index(settings.prefix, self._collection),
            self._manifest.to_json(),
            generation=0,
            state="building",
            vectors=base.vectors if base else settings.vectors,
            base=base.index if base else "",
            fields=dict(base.fields or {}) if base else {},
            analyses=base.analyses if base else (),
        )

    def make(self, version: IndexVersion, live: IndexVersion | None) -> None:
        """Create the version as a clone of the live one, which shares its files, or empty. Idempotent."""
        if version.base:
            assert live is not None
            clone(self._connection, live, version, schema.WHILE_BUILDING)
        else:
            self._create(version)

    def publish(
        self,
        live: IndexVersion | None,
        version: IndexVersion,
        fields: Fields,
        *,
        generation: int,
        require: Callable[[], None],
    ) -> IndexVersion:
        """Make the version live and delete all but the previous one; `require` checks the lease before the swap."""
        job = self._connection.job
        job(lambda client: client.indices.refresh(index=version.index))
        fields.refresh()
        ready = replace(
            version,
            state="ready",
            generation=generation,
            previous=live.index if live else "",
            fields=fields.names,
            analyses=tuple(sorted(fields.analyses)),
        )
        job(lambda client: client.indices.put_mapping(index=version.index, meta=ready.meta()))
        settings = {**schema.WHEN_READY, **schema.replicas(self._connection.settings)}
        job(lambda client: client.indices.put_settings(index=version.index, settings=settings))
        require()
        swap(self._connection, self._collection, live, ready)
        self.clean_up()
        return ready

    def clean_up(self) -> None:
        indices = all_indices(self._connection, self._collection)
        previous = indices.live.previous if indices.live else ""
        delete_indices(self._connection, [index for index in indices.others if index != previous])
        if indices.live is not None:
            fields_record(self._connection, indices.live.index).delete()

    def _usable(self, indices: Indices) -> IndexVersion | None:
        version = indices.building
        base = indices.live.index if indices.live is not None and not self.rebuild else ""
        if version is None or (version.base, version.manifest) != (base, self._manifest.to_json()):
            return None  # the index or the settings have changed since
        try:
            wait_for_shards(self._connection, version)
        except BackendUnavailable:
            return None  # unreadable, and only a copy
        return version

    def _open(self, version: IndexVersion) -> IndexVersion:
        """Reopen a version that a killed job left."""
        job = self._connection.job
        version = replace(version, state="building", generation=0, previous="")
        set_meta(self._connection, version)
        job(lambda client: client.indices.put_settings(index=version.index, settings=schema.WHILE_BUILDING))
        job(lambda client: client.indices.refresh(index=version.index))
        return version

    def _create(self, version: IndexVersion) -> None:
        body = schema.index_body(version, self._connection.settings, self._connection.keyword)
        try:
            self._connection.job(lambda client: client.indices.create(index=version.index, **body))
        except SearchAppError as error:
            if "already exists" not in error.message:  # the answer to an earlier attempt got lost
                raise


def clone(connection: Connection, source: IndexVersion, target: IndexVersion, settings: dict[str, Any]) -> None:
    """Clone an index and store the metadata of `target`. Idempotent."""
    job = connection.job
    # Only a write-blocked index can be cloned. Published ones are.
    job(lambda client: client.indices.put_settings(index=source.index, settings={"blocks.write": True}))
    settings = {**settings, **schema.replicas(connection.settings)}
    try:
        job(lambda client: client.indices.clone(index=source.index, target=target.index, settings=settings))
    except SearchAppError as error:
        if "already exists" not in error.message:
            raise
    # A mapping put on the clone before its shards exist would prevent their allocation.
    wait_for_shards(connection, target)
    set_meta(connection, target)


def set_meta(connection: Connection, version: IndexVersion) -> None:
    """Store the version's description in its mapping."""
    connection.job(lambda client: client.indices.put_mapping(index=version.index, meta=version.meta()))


def wait_for_shards(connection: Connection, version: IndexVersion) -> None:
    """Wait until every primary shard is allocated. Raises BackendUnavailable after the configured patience."""

    def request(client: Any) -> Any:
        health = client.options(ignore_status=408).cluster.health(
            index=version.index, wait_for_status="yellow", timeout="1s"
        )
        if health["timed_out"]:
            raise Busy(f"{version.index} is {health['status']}")
        return health

    connection.job(request)


def delete_indices(connection: Connection, names: Sequence[str]) -> None:
    """Delete indices and their field records; missing ones are no error."""
    for name in names:
        with suppress(ExpectedStatus):
            connection.job(lambda client: client.indices.delete(index=name))  # noqa: B023
        fields_record(connection, name).delete()


def swap(connection: Connection, collection: str, live: IndexVersion | None, ready: IndexVersion) -> None:
    """Move the alias atomically. Raises IndexBusy if it no longer points to `live`."""
    name = schema.alias(connection.settings.prefix, collection)
    actions: list[dict[str, Any]] = [{"add": {"index": ready.index, "alias": name}}]
    if live is not None:
        actions.insert(0, {"remove": {"index": live.index, "alias": name, "must_exist": True}})
    try:
        connection.job(lambda client: client.indices.update_aliases(actions=actions))
    except ExpectedStatus:
        # Either an earlier attempt succeeded and its answer got lost, or another job swapped.
        indices = all_indices(connection, collection)
        if indices.live is None or indices.live.index != ready.index:
            raise IndexBusy(
                f"collection '{collection}' was replaced by another job", hint="run the same command again"
            ) from None
