"""Several `apply --shard i/n` jobs fill one index version, on any machines and at any time.

Each shard has its own lease. It holds the collection's lease only to join the set and to publish, which excludes
ordinary jobs and other shards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from search_app.errors import IndexBusy
from search_app.manifest import Manifest
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.lease import EXPIRY_SECONDS, Lease, LeaseTaken
from search_app.stores.elasticsearch.records import Content
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.elasticsearch.shard_set import ShardSet, open_set, record
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

_RETRY_SECONDS = 0.2


class ShardWriter(ElasticsearchWriter):
    """The writer of shard (i, n); the last one to finish publishes."""

    def __init__(
        self, connection: Connection, manifest: Manifest, *, collection: str, shard: tuple[int, int],
        rebuild: bool = False,
    ) -> None:  # fmt: skip
        self._number, self._total = shard
        self._manifest = manifest
        self._set = record(connection, collection)
        self._joined: ShardSet | None = None
        super().__init__(connection, manifest, collection=collection, rebuild=rebuild)

    def finish(self) -> tuple[int, ...]:
        self._lease.require()
        self._close_entries()
        if self._joined is None:
            return ()
        missing = self._change(done=True).missing
        if missing:
            return missing
        with self._alone(or_job=True) as lease:
            found = ShardSet.of(self._set.read())
            if found is None or found.index != self._joined.index:
                return ()  # published by another shard
            if not found.missing:
                if found.made or self._base is None:
                    self._version = self._version or self._created()
                    self._publish(lease, first=self._live is None and not found.made)
                self._set.delete()
            return found.missing

    def _hold(self) -> Lease:
        return Lease(self._connection, self._collection, shard=f"{self._number}/{self._total}")

    def _find(self) -> tuple[IndexVersion | None, IndexVersion | None]:
        with self._alone():
            spent = ShardSet.of(self._set.read())
            found = open_set(self._connection, self._collection)
            if found is None and spent is not None and spent.publisher == self._number:
                live, _ = self._versions.find()
                if live is not None and live.index == spent.index:
                    # Killed after publishing: no new set is needed, unless something has changed since.
                    self._set.delete()
                    return live, None
            return self._join(found)

    def _make(self) -> IndexVersion:
        # An ordinary job holds the lease only until it is refused, once a shard has joined.
        with self._alone(or_job=self._joined is not None):
            found = open_set(self._connection, self._collection)
            if self._joined is not None and (found is None or found.index != self._joined.index):
                raise self._taken_over()
            self._live, version = self._join(found)
            return version or self._created()

    def _created(self) -> IndexVersion:
        """The set's version, created if needed. Needs `_alone`, since other jobs delete half-created versions."""
        assert self._joined is not None
        version = replace(
            self._versions.new_version(self._live, index=self._joined.index), vectors=self._joined.vectors
        )
        self._versions.make(version, self._live)
        self._change(made=True)
        return version

    def _join(self, found: ShardSet | None) -> tuple[IndexVersion | None, IndexVersion | None]:
        if found is not None:
            self._require_agreement(found)
        live, version = self._versions.find()
        if found is not None and (found.made or version) and (version is None or version.index != found.index):
            found = None  # its version was lost
        if found is None:
            planned = version or self._versions.new_version(live)
            found = ShardSet(
                planned.index,
                live.index if live else "",
                self._manifest.to_json(),
                planned.vectors,
                self._versions.rebuild,
                self._total,
            )
            self._set.change(lambda _: found.content())
        self._joined = found
        # A shard that runs again is not done, so nothing is published before it ends.
        self._change(done=False, made=version is not None)
        return live, version

    def _require_agreement(self, found: ShardSet) -> None:
        ours = (self._total, self._versions.rebuild, self._manifest.to_json())
        for what, theirs, mine in zip(
            ("shards", "--rebuild", "encoder, splitter and analysis"),
            (found.count, found.rebuild, found.manifest),
            ours,
            strict=True,
        ):
            if theirs != mine:
                raise found.busy(
                    self._collection, f"; they were started with {what} {_shown(theirs)}, not {_shown(mine)}"
                )

    def _change(self, *, done: bool | None = None, made: bool = False) -> ShardSet:
        joined = self._joined
        assert joined is not None

        def edit(content: Content | None) -> Content:
            found = ShardSet.of(content)
            if found is None or found.index != joined.index:
                raise self._taken_over()
            if done is not None:
                rest = set(found.done) - {self._number}
                found = replace(found, done=tuple(sorted(rest | {self._number} if done else rest)))
                found = replace(found, publisher=0 if found.missing else found.publisher or self._number)
            return replace(found, made=found.made or made).content()

        changed = ShardSet.of(self._set.change(edit))
        assert changed is not None
        return changed

    def _taken_over(self) -> IndexBusy:
        return IndexBusy(f"another job took over collection '{self._collection}'", hint="run the same command again")

    @contextmanager
    def _alone(self, *, or_job: bool = False) -> Iterator[Lease]:
        """Hold the collection's lease; waits while other shards hold it, and with `or_job` also for ordinary jobs."""
        deadline = time.monotonic() + self._connection.settings.patience + EXPIRY_SECONDS
        while True:
            try:
                lease = Lease(self._connection, self._collection, step="shard")
                break
            except LeaseTaken as error:
                if not (error.step or or_job) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_SECONDS)
        try:
            yield lease
        finally:
            lease.release()


def _shown(value: object) -> str:
    return str(value) if len(str(value)) < 10 else "others"
