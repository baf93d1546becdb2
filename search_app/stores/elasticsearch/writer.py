"""Write a collection on Elasticsearch: into a new index version, which an alias swap publishes."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from search_app.manifest import Manifest
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.index_versions import IndexVersions
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.parts import (
    EntryWriter,
    FileWritten,
    file_entry,
    unfinished_file,
    vectors_in,
)
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.elasticsearch.shard_set import abandon, require_none
from search_app.stores.elasticsearch.store import walk

_KEYS_PER_REQUEST = 500


@dataclass(slots=True)
class _Open:
    """What the parts of a file contained so far; `languages` by document id, for passages in later parts."""

    documents: int = 0
    passages: int = 0
    languages: dict[str, str] = field(default_factory=dict)


class ElasticsearchWriter:
    """The one writer of a collection. Raises IndexBusy with the process and machine of another one.

    It writes into a new index version: a copy of the live index, or an empty one for `rebuild`. Readers see it after
    `finish`. A killed job leaves its version behind and the next job continues it.

    Raises IndexBusy while some shards of a job are not done, unless `after_shards` is set to do the rest here.
    To write from other machines, pass `part_writer_config()` to a `PartWriter` there and `complete` the files here.
    """

    def __init__(
        self, connection: Connection, manifest: Manifest, *, collection: str, rebuild: bool = False,
        after_shards: bool = False,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._collection = collection
        self._after_shards = after_shards
        self._versions = IndexVersions(connection, manifest, collection=collection, rebuild=rebuild)
        self._revision = secrets.token_hex(8)
        self._entries: EntryWriter | None = None
        self._written: set[str] = set()
        self._before: NDArray[np.uint64] | None = None
        self._parts: dict[str, _Open] = {}
        self._broken: set[str] = set()
        self._lease = self._hold()
        try:
            self._live, self._version = self._find()
        except BaseException:
            self._lease.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def files(self) -> Iterator[FileRecord]:
        source = self._version or self._base
        before = array("Q")
        if source is not None:
            for hit in walk(self._connection.job, source.index, {"term": {"kind": "file"}}, ["path"], True):
                record = schema.file_record(hit["_source"])
                before.append(_number(record.path))
                yield record
        if not self._written:
            self._before = np.sort(np.frombuffer(before, dtype=np.uint64))

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the live index, and of the version that an earlier job left."""
        return vectors_in(self._connection, self._indices, keys)

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]:
        """Returns when everything is stored. An incomplete file has no digest, so a later job indexes it again."""
        if not changes:
            return []
        self._lease.require()
        version, entries = self._ensure_version()
        if {schema.file_key(change.record.path) for change in changes if change.first} & self._written:
            self._refresh(version)
            self._revision = secrets.token_hex(8)
        taken, refused = entries.accept([part for change in changes if (part := self._part(change))])
        rejected = [rejection for part in refused.values() for rejection in part.rejections]
        self._broken |= {part.path for part in refused.values()}
        self._mark(change.record for change in taken)
        for written in entries.send(taken, revision=self._revision):
            if written.rejections:  # the file counts as half done
                self._broken.add(written.path)
                rejected += written.rejections
        ended = [change.record for change in taken if change.last]
        self._replace(ended, {record.path: self._parts[record.path].passages for record in ended})
        for record in ended:
            self._parts.pop(record.path, None)
        self._written.update(schema.file_key(change.record.path) for change in taken)
        return rejected

    # --- parts written on other machines

    def part_writer_config(self) -> dict[str, Any]:
        """JSON for a `PartWriter` on another machine, valid while this job runs."""
        self._lease.require()
        version, _ = self._ensure_version()
        return {
            "index": version.index,
            "meta": version.meta(),
            "revision": self._revision,
            "indices": self._indices,
            "lease": self._lease.id,
            "token": self._lease.token,
        }

    def complete(self, files: Sequence[FileWritten]) -> list[Rejection]:
        """Mark files as indexed once all their parts are written. Returns everything that was rejected of them.

        A file with a rejected part, or with other counts than its parts reported, is removed.
        """
        if not files:
            return []
        self._lease.require()
        version, _ = self._ensure_version()
        self._refresh(version)
        rejected = [rejection for file in files for part in file.parts for rejection in part.rejections]
        self._broken -= {file.record.path for file in files}
        self._broken |= {rejection.path for rejection in rejected}
        gone, whole, passages = [], [], {}
        counted = self._count([schema.file_key(file.record.path) for file in files], self._revision)
        for file in files:
            path = file.record.path
            kinds = counted.get(schema.file_key(path), {})
            found = (kinds.get("document", 0), kinds.get("passage", 0))
            reported = (sum(part.documents for part in file.parts), sum(part.passages for part in file.parts))
            if not all(part.kept for part in file.parts):
                gone.append(path)
            elif path not in self._broken and found != reported:
                gone.append(path)
                rejected.append(
                    Rejection(
                        path,
                        file.record.source,
                        f"the index has {found[0]} documents and {found[1]} passages of it, but its parts had"
                        f" {reported[0]} and {reported[1]}: it changed while it was read; run the command again",
                    )
                )
            else:
                whole.append(file.record)
                passages[path] = reported[1]
        self._delete(version, gone)
        self._replace(whole, passages)
        return rejected

    # ---

    def remove_files(self, paths: Sequence[str]) -> None:
        if paths:
            self._lease.require()
            version, _ = self._ensure_version()
            if self._written & {schema.file_key(path) for path in paths}:
                self._refresh(version)
            self._delete(version, paths)

    def remove_documents(self, ids: Sequence[str]) -> int:
        """A version that is left in the middle of this is not continued, so nobody sees a partial removal."""
        if not ids:
            return 0
        self._lease.require()
        version, _ = self._ensure_version()
        self._refresh(version)
        found = list(self._entries_of(version, ids))
        if not found:
            return 0
        self._state("removing")
        for start in range(0, len(found), _KEYS_PER_REQUEST):
            gone = [document for document, _ in found[start : start + _KEYS_PER_REQUEST]]
            self._delete_where(version, {"bool": {"filter": [{"terms": {"document": gone}}]}})
        self._refresh(version)
        self._recount(version, sorted({file for _, file in found}))
        self._state("building")
        return len(found)

    def finish(self) -> tuple[int, ...]:
        """Publish the version and delete all but the previous one."""
        self._lease.require()
        if self._version is not None or self._base is None:
            self._publish(self._lease, first=self._live is None and not self._written)
        return ()

    def close(self) -> None:
        self._close_entries()
        self._lease.release()

    # --- overridden by ShardWriter

    def _hold(self) -> Lease:
        return Lease(self._connection, self._collection)

    def _find(self) -> tuple[IndexVersion | None, IndexVersion | None]:
        (abandon if self._after_shards else require_none)(self._connection, self._collection)
        return self._versions.find()

    def _make(self) -> IndexVersion:
        version = self._versions.new_version(self._live)
        self._versions.make(version, self._live)
        return version

    # ---

    @property
    def _base(self) -> IndexVersion | None:
        """The index that a new version is cloned from."""
        return None if self._versions.rebuild else self._live

    @property
    def _indices(self) -> list[str]:
        return sorted({version.index for version in (self._version, self._base) if version})

    def _ensure_version(self) -> tuple[IndexVersion, EntryWriter]:
        if self._version is None:
            self._version = self._make()
        if self._entries is None:
            self._entries = EntryWriter(self._connection, self._version, require=self._lease.require)
        return self._version, self._entries

    def _publish(self, lease: Lease, *, first: bool) -> None:
        version, entries = self._ensure_version()
        live = self._live
        generation = 0 if first else (live.generation if live else 0) + 1
        self._live = self._versions.publish(live, version, entries.fields, generation=generation, require=lease.require)
        self._version = None
        self._close_entries()

    def _part(self, change: FileChange) -> FileChange | None:
        """None if an earlier part of the file was rejected."""
        path = change.record.path
        if change.first:
            self._broken.discard(path)
            self._parts[path] = _Open()
        if path in self._broken:
            return None
        parts = self._parts[path]
        part = replace(change, first_document=parts.documents, languages=dict(parts.languages))
        parts.documents += len(change.documents)
        parts.passages += len(change.batch.passages)
        parts.languages |= {document.id: document.language for document in change.documents}
        return part

    def _mark(self, records: Iterable[FileRecord]) -> None:
        """Mark files as unfinished."""
        _, entries = self._ensure_version()
        entries.put(unfinished_file(record, self._revision) for record in records)

    def _replace(self, records: Sequence[FileRecord], passages: Mapping[str, int]) -> None:
        """Delete the earlier entries of these files, and mark those without a rejection as indexed."""
        version, entries = self._ensure_version()
        self._delete(version, [record.path for record in records if self._was_there(record.path)], keep=self._revision)
        entries.put(
            file_entry(record, self._revision, passages[record.path])
            for record in records
            if record.path not in self._broken
        )

    def _delete(self, version: IndexVersion, paths: Sequence[str], *, keep: str = "") -> None:
        """Delete the entries of files, except those of the revision `keep`."""
        for start in range(0, len(paths), _KEYS_PER_REQUEST):
            files = [schema.file_key(path) for path in paths[start : start + _KEYS_PER_REQUEST]]
            query: dict[str, Any] = {"bool": {"filter": [{"terms": {"file": files}}]}}
            if keep:
                query["bool"]["must_not"] = [{"term": {"revision": keep}}]
            self._delete_where(version, query)

    def _delete_where(self, version: IndexVersion, query: dict[str, Any]) -> None:
        self._connection.job(
            lambda client: client.delete_by_query(index=version.index, query=query, conflicts="proceed")
        )

    def _entries_of(self, version: IndexVersion, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The existing documents among `ids`, each with the key of its file."""
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _KEYS_PER_REQUEST):
            batch = wanted[start : start + _KEYS_PER_REQUEST]
            query = {"bool": {"filter": [{"term": {"kind": "document"}}, {"terms": {"document": batch}}]}}
            for hit in walk(self._connection.job, version.index, query, ["document"], ["document", "file"]):
                yield hit["_source"]["document"], hit["_source"]["file"]

    def _recount(self, version: IndexVersion, files: Sequence[str]) -> None:
        """Update the numbers of documents and passages in the entries of files."""
        _, entries = self._ensure_version()
        for start in range(0, len(files), _KEYS_PER_REQUEST):
            batch = files[start : start + _KEYS_PER_REQUEST]
            counts = self._count(batch)
            changed = []
            for hit in walk(self._connection.job, version.index, _of_files(batch, {"kind": "file"}), ["path"], True):
                source = hit["_source"]
                kinds = counts.get(source["file"], {})
                record = replace(schema.file_record(source), documents=kinds.get("document", 0))
                changed.append(file_entry(record, source["revision"], kinds.get("passage", 0)))
            entries.put(changed)

    def _count(self, files: Sequence[str], revision: str = "") -> dict[str, dict[str, int]]:
        """Numbers of entries by file and kind, of one revision or of all."""
        version, _ = self._ensure_version()
        found: dict[str, dict[str, int]] = {}
        for start in range(0, len(files), _KEYS_PER_REQUEST):
            query = _of_files(files[start : start + _KEYS_PER_REQUEST], {"revision": revision} if revision else {})
            answer = self._connection.job(
                lambda client: client.search(
                    index=version.index,
                    query=query,  # noqa: B023
                    size=0,
                    track_total_hits=False,
                    aggs={
                        "files": {
                            "terms": {"field": "file", "size": _KEYS_PER_REQUEST},
                            "aggs": {"kinds": {"terms": {"field": "kind", "size": 10}}},
                        }
                    },
                )
            )
            for bucket in answer["aggregations"]["files"]["buckets"]:
                found[bucket["key"]] = {kind["key"]: kind["doc_count"] for kind in bucket["kinds"]["buckets"]}
        return found

    def _state(self, state: str) -> None:
        assert self._version is not None
        self._version = version = replace(self._version, state=state)
        self._connection.job(lambda client: client.indices.put_mapping(index=version.index, meta=version.meta()))

    def _was_there(self, path: str) -> bool:
        """Whether the file may have earlier entries; True if unknown."""
        if self._before is None or schema.file_key(path) in self._written:
            return True
        number = np.uint64(_number(path))
        place = int(np.searchsorted(self._before, number))
        return place < len(self._before) and bool(self._before[place] == number)

    def _refresh(self, version: IndexVersion) -> None:
        self._connection.job(lambda client: client.indices.refresh(index=version.index))

    def _close_entries(self) -> None:
        if self._entries is not None:
            self._entries.close()
            self._entries = None


def _number(path: str) -> int:
    """Eight bytes of a path's hash; a collision only causes a deletion that finds nothing."""
    return int(schema.file_key(path)[:16], 16)


def _of_files(files: Sequence[str], terms: Mapping[str, str]) -> dict[str, Any]:
    also = [{"term": {name: value}} for name, value in terms.items()]
    return {"bool": {"filter": [{"terms": {"file": list(files)}}, *also]}}
