"""The indices that a collection is built in: found, made, published by an alias swap, and cleared away."""

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
    """Of one collection, for the job (or jobs) that the leases let write."""

    def __init__(self, connection: Connection, manifest: Manifest, *, collection: str, rebuild: bool) -> None:
        self._connection = connection
        self._manifest = manifest
        self._collection = collection
        self.rebuild = rebuild

    def find(self) -> tuple[IndexVersion | None, IndexVersion | None]:
        """The live index and a version to go on with. What neither serves nor can be gone back to is deleted."""
        indices = all_indices(self._connection, self._collection)
        live = indices.live
        if live is not None and not self.rebuild:
            Manifest.from_json(live.manifest, oldest=1).require(self._manifest)
        version = self._usable(indices)
        kept = {found.index for found in (live, version, indices.previous) if found is not None}
        delete_indices(self._connection, [index for index in indices.others if index not in kept])
        return live, None if version is None else self._open(version)

    def new_version(self, live: IndexVersion | None, *, index: str = "") -> IndexVersion:
        """One that is not there yet, under a new name or that of `index`."""
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
        """A copy of the live index (`clone`: the files are shared, nothing is moved), or empty; again does no harm."""
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
        """The index that served until now stays for `rollback`, older ones go; `require` speaks up last."""
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
            return None  # another job's: since then the index was replaced, or the settings were changed
        try:
            wait_for_shards(self._connection, version)
        except BackendUnavailable:
            return None  # it can't be read any more: it was only a copy
        return version

    def _open(self, version: IndexVersion) -> IndexVersion:
        """Left by a killed job: what it wrote last becomes visible."""
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
            if "already exists" not in error.message:  # else an answer got lost
                raise


def clone(connection: Connection, source: IndexVersion, target: IndexVersion, settings: dict[str, Any]) -> None:
    """Clone an index with the metadata of `target`; doing it twice does no harm."""
    job = connection.job
    # Published indices take no writes, which is what a clone asks for; one that was made by hand may.
    job(lambda client: client.indices.put_settings(index=source.index, settings={"blocks.write": True}))
    settings = {**settings, **schema.replicas(connection.settings)}
    try:
        job(lambda client: client.indices.clone(index=source.index, target=target.index, settings=settings))
    except SearchAppError as error:
        if "already exists" not in error.message:
            raise
    # The copy has no mapping before its shards are there, and one put on it now would keep them out for ever.
    wait_for_shards(connection, target)
    set_meta(connection, target)


def set_meta(connection: Connection, version: IndexVersion) -> None:
    connection.job(lambda client: client.indices.put_mapping(index=version.index, meta=version.meta()))


def wait_for_shards(connection: Connection, version: IndexVersion) -> None:
    """Raises BackendUnavailable where some are nowhere when the patience is over."""

    def request(client: Any) -> Any:
        health = client.options(ignore_status=408).cluster.health(
            index=version.index, wait_for_status="yellow", timeout="1s"
        )
        if health["timed_out"]:
            raise Busy(f"{version.index} is {health['status']}")
        return health

    connection.job(request)


def delete_indices(connection: Connection, names: Sequence[str]) -> None:
    """With what was kept about them beside the leases."""
    for name in names:
        with suppress(ExpectedStatus):
            connection.job(lambda client: client.indices.delete(index=name))  # noqa: B023
        fields_record(connection, name).delete()


def swap(connection: Connection, collection: str, live: IndexVersion | None, ready: IndexVersion) -> None:
    """One step for all readers, and only from the index that the job began with. Raises IndexBusy otherwise."""
    name = schema.alias(connection.settings.prefix, collection)
    actions: list[dict[str, Any]] = [{"add": {"index": ready.index, "alias": name}}]
    if live is not None:
        actions.insert(0, {"remove": {"index": live.index, "alias": name, "must_exist": True}})
    try:
        connection.job(lambda client: client.indices.update_aliases(actions=actions))
    except ExpectedStatus:
        # Either an answer got lost, and the swap is done; or somebody else swapped.
        indices = all_indices(connection, collection)
        if indices.live is None or indices.live.index != ready.index:
            raise IndexBusy(
                f"collection '{collection}' was replaced by another job", hint="run the same command again"
            ) from None
