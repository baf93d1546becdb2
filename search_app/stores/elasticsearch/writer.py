"""Writing a collection on Elasticsearch: into a version beside the live index, published whole by an alias swap."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
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
    FilePart,
    FileWritten,
    file_entry,
    unfinished_file,
    vectors_in,
)
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.elasticsearch.shard_set import abandon, require_none
from search_app.stores.elasticsearch.store import walk

_KEYS_AT_ONCE = 500


@dataclass(slots=True)
class _Open:
    """What parts of a file have brought so far; `languages` are those of its documents, whose passages may follow."""

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Of the live index, which stays as it is, and of what an earlier job left in the version."""
        return vectors_in(self._connection, self._indices, keys)

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]:
        """Returns when all is on disk. In between, a file that is not complete has no digest, so it is done again."""
        if not changes:
            return []
        self._lease.require()
        version, entries = self._ensure_version()
        if {schema.file_key(change.record.path) for change in changes if change.first} & self._written:
            self._refresh(version)
            self._revision = secrets.token_hex(8)
        admitted, refused = entries.accept([part for change in changes if (part := self._part(change))])
        rejected = [rejection for part in refused.values() for rejection in part.rejections]
        self._broken |= {part.path for part in refused.values()}
        taken = [part.change for part in admitted]
        self._mark(change.record for change in taken)
        for written in entries.send(admitted, revision=self._revision):
            if written.rejections:  # the file counts as half done
                self._broken.add(written.path)
                rejected += written.rejections
        ended = [change.record for change in taken if change.last]
        self._replace(ended, {record.path: self._parts[record.path].passages for record in ended})
        for record in ended:
            self._parts.pop(record.path, None)
        self._written.update(schema.file_key(change.record.path) for change in taken)
        return rejected

    # --- parts written elsewhere

    def part_writer_config(self) -> dict[str, Any]:
        """JSON with which a `PartWriter` on any machine joins this job, and no longer than it runs."""
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
        """Files all of whose parts are written. Returns what was refused of them, on whatever machine.

        A file with a part that was not kept, or of which more or less is there than its parts told, goes entirely.
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
        found = self._count([schema.file_key(file.record.path) for file in files], self._revision)
        for file in files:
            path = file.record.path
            kinds = found.get(schema.file_key(path), {})
            there = (kinds.get("document", 0), kinds.get("passage", 0))
            told = (sum(part.documents for part in file.parts), sum(part.passages for part in file.parts))
            if not all(part.kept for part in file.parts):
                gone.append(path)
            elif path not in self._broken and there != told:
                gone.append(path)
                rejected.append(
                    Rejection(
                        path,
                        file.record.source,
                        f"{there[0]} documents and {there[1]} passages are there where its parts had {told[0]} and"
                        f" {told[1]}: it changed while it was read; run the command again",
                    )
                )
            else:
                whole.append(file.record)
                passages[path] = told[1]
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
        """A version that is left in the middle of this is never gone on with: half of a removal is seen by nobody."""
        if not ids:
            return 0
        self._lease.require()
        version, _ = self._ensure_version()
        self._refresh(version)
        found = list(self._entries_of(version, ids))
        if not found:
            return 0
        self._state("removing")
        for start in range(0, len(found), _KEYS_AT_ONCE):
            gone = [document for document, _ in found[start : start + _KEYS_AT_ONCE]]
            self._delete_where(version, {"bool": {"filter": [{"terms": {"document": gone}}]}})
        self._refresh(version)
        self._recount(version, sorted({file for _, file in found}))
        self._state("building")
        return len(found)

    def finish(self) -> tuple[int, ...]:
        """Publishes the version, and deletes what is older than the index that it replaces."""
        self._lease.require()
        if self._version is not None or self._base is None:
            self._publish(self._lease, first=self._live is None and not self._written)
        return ()

    def close(self) -> None:
        self._close_entries()
        self._lease.release()

    # --- what a shard does differently

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
        """What a version begins with."""
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

    def _part(self, change: FileChange) -> FilePart | None:
        """None where an earlier part of the file was turned away."""
        path = change.record.path
        if change.first:
            self._broken.discard(path)
            self._parts[path] = _Open()
        if path in self._broken:
            return None
        parts = self._parts[path]
        part = FilePart(change, parts.documents, dict(parts.languages))
        parts.documents += len(change.documents)
        parts.passages += len(change.batch.passages)
        parts.languages |= {document.id: document.language for document in change.documents}
        return part

    def _mark(self, records: Iterable[FileRecord]) -> None:
        """As begun: without a digest."""
        _, entries = self._ensure_version()
        entries.put(unfinished_file(record, self._revision) for record in records)

    def _replace(self, records: Sequence[FileRecord], passages: Mapping[str, int]) -> None:
        """What was there before of these files goes, and those of which all was taken count as indexed."""
        version, entries = self._ensure_version()
        self._delete(version, [record.path for record in records if self._was_there(record.path)], keep=self._revision)
        entries.put(
            file_entry(record, self._revision, passages[record.path])
            for record in records
            if record.path not in self._broken
        )

    def _delete(self, version: IndexVersion, paths: Sequence[str], *, keep: str = "") -> None:
        """EntryWriter of the files, but for those of the revision `keep`."""
        for start in range(0, len(paths), _KEYS_AT_ONCE):
            files = [schema.file_key(path) for path in paths[start : start + _KEYS_AT_ONCE]]
            query: dict[str, Any] = {"bool": {"filter": [{"terms": {"file": files}}]}}
            if keep:
                query["bool"]["must_not"] = [{"term": {"revision": keep}}]
            self._delete_where(version, query)

    def _delete_where(self, version: IndexVersion, query: dict[str, Any]) -> None:
        self._connection.job(
            lambda client: client.delete_by_query(index=version.index, query=query, conflicts="proceed")
        )

    def _entries_of(self, version: IndexVersion, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Those of the documents that are there, each with the key of its file."""
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            batch = wanted[start : start + _KEYS_AT_ONCE]
            query = {"bool": {"filter": [{"term": {"kind": "document"}}, {"terms": {"document": batch}}]}}
            for hit in walk(self._connection.job, version.index, query, ["document"], ["document", "file"]):
                yield hit["_source"]["document"], hit["_source"]["file"]

    def _recount(self, version: IndexVersion, files: Sequence[str]) -> None:
        """Writes into each file's entry how many documents and passages of it there are."""
        _, entries = self._ensure_version()
        for start in range(0, len(files), _KEYS_AT_ONCE):
            batch = files[start : start + _KEYS_AT_ONCE]
            counts = self._count(batch)
            changed = []
            for hit in walk(self._connection.job, version.index, _of_files(batch, {"kind": "file"}), ["path"], True):
                source = hit["_source"]
                kinds = counts.get(source["file"], {})
                record = replace(schema.file_record(source), documents=kinds.get("document", 0))
                changed.append(file_entry(record, source["revision"], kinds.get("passage", 0)))
            entries.put(changed)

    def _count(self, files: Sequence[str], revision: str = "") -> dict[str, dict[str, int]]:
        """EntryWriter of each kind by file, of one revision or of all."""
        version, _ = self._ensure_version()
        found: dict[str, dict[str, int]] = {}
        for start in range(0, len(files), _KEYS_AT_ONCE):
            query = _of_files(files[start : start + _KEYS_AT_ONCE], {"revision": revision} if revision else {})
            answer = self._connection.job(
                lambda client: client.search(
                    index=version.index,
                    query=query,  # noqa: B023
                    size=0,
                    track_total_hits=False,
                    aggs={
                        "files": {
                            "terms": {"field": "file", "size": _KEYS_AT_ONCE},
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
        """Whether an earlier version may have left entries; what the writer was never asked for may be anything."""
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
    """Eight bytes for a path: of millions of files few share one, and then only a deletion finds nothing."""
    return int(schema.file_key(path)[:16], 16)


def _of_files(files: Sequence[str], terms: Mapping[str, str]) -> dict[str, Any]:
    also = [{"term": {name: value}} for name, value in terms.items()]
    return {"bool": {"filter": [{"terms": {"file": list(files)}}, *also]}}
