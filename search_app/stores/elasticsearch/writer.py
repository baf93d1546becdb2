"""Writing a collection on Elasticsearch: into a build beside the live index, published whole by an alias swap."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from search_app.errors import BackendUnavailable, IndexBusy, SearchAppError
from search_app.manifest import Manifest
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.bulk import BulkWriter, Entry, Refusals
from search_app.stores.elasticsearch.connection import Busy, Connection, ExpectedStatus, dumps
from search_app.stores.elasticsearch.indices import all_indices
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.schema import Build
from search_app.stores.elasticsearch.store import walk
from search_app.stores.filters import field_kinds

_KEYS_AT_ONCE = 500
_SHOWN = 3


class ElasticsearchWriter:
    """Opens a collection for its one writer; a second one is refused with the first one's process and machine.

    The build is a copy of the live index (`_clone`: the files are shared, nothing is moved), or empty for `rebuild`.
    A job that was killed leaves it behind, and the next one goes on in it. Nothing of it is seen before `finish`.
    """

    def __init__(self, connection: Connection, manifest: Manifest, *, collection: str, rebuild: bool = False) -> None:
        self._connection = connection
        self._settings = connection.settings
        self._manifest = manifest
        self._collection = collection
        self._rebuild = rebuild
        self._revision = secrets.token_hex(8)
        self._lease = Lease(connection, collection)
        self._bulk: BulkWriter | None = None
        self._written: set[str] = set()
        self._before: set[str] | None = None
        self._orders: dict[str, int] = {}
        self._passages: dict[str, int] = {}
        self._languages: dict[str, tuple[str, str, dict[str, list[Any]]]] = {}
        self._broken: set[str] = set()
        try:
            self._live, self._build = self._find()
            self._mapped = self._mapped_fields() if self._build else set()
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
        source = self._build or (None if self._rebuild else self._live)
        records = []
        if source is not None:
            found = walk(self._connection.job, source.index, {"term": {"kind": "file"}}, ["path"], True)
            records = [schema.file_record(hit["_source"]) for hit in found]
        if not self._written:
            self._before = {record.path for record in records}
        return iter(records)

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Of the live index, which stays as it is, and of what an earlier job left in the build."""
        indices = {build.index for build in (self._build, None if self._rebuild else self._live) if build}
        found: dict[str, NDArray[np.float32]] = {}
        if not indices:
            return found
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            wanted = list(keys[start : start + _KEYS_AT_ONCE])
            body: dict[str, Any] = {
                "query": {"terms": {"key": wanted}},
                "collapse": {"field": "key"},
                "size": len(wanted),
                "stored_fields": ["vector"],
                "track_total_hits": False,
            }
            hits = self._connection.job(lambda client: client.search(index=sorted(indices), **body))["hits"]["hits"]  # noqa: B023
            found.update((hit["fields"]["key"][0], schema.vector_of(hit["fields"]["vector"][0])) for hit in hits)
        return found

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]:
        """Returns when all is on disk. In between, a file that is not complete has no digest, so it is done again."""
        if not changes:
            return []
        self._lease.require()
        build = self._ensure_build()
        again = {schema.file_key(change.record.path) for change in changes if change.first} & self._written
        if again:
            self._refresh(build)
            self._revision = secrets.token_hex(8)
        rejected, changes = self._within_limits(changes)
        self._map_fields(changes)
        self._send([_file_entry(change.record, self._revision, 0, whole=False) for change in changes])
        rejected += self._refused(self._send(entry for change in changes for entry in self._entries(change)))
        complete = [change for change in changes if change.last and change.record.path not in self._broken]
        self._delete(
            build,
            [change.record.path for change in changes if change.last and self._was_there(change.record.path)],
            keep=self._revision,
        )
        self._send(
            [
                _file_entry(change.record, self._revision, self._passages[change.record.path], whole=True)
                for change in complete
            ]
        )
        self._written.update(schema.file_key(change.record.path) for change in changes)
        return rejected

    def remove_files(self, paths: Sequence[str]) -> None:
        if paths:
            self._lease.require()
            build = self._ensure_build()
            if self._written & {schema.file_key(path) for path in paths}:
                self._refresh(build)
            self._delete(build, paths)

    def remove_documents(self, ids: Sequence[str]) -> int:
        """A build that is left in the middle of this is never gone on with: half of a removal is seen by nobody."""
        if not ids:
            return 0
        self._lease.require()
        build = self._ensure_build()
        self._refresh(build)
        found = list(self._entries_of(build, ids))
        if not found:
            return 0
        self._state("removing")
        for start in range(0, len(found), _KEYS_AT_ONCE):
            gone = [document for document, _ in found[start : start + _KEYS_AT_ONCE]]
            self._delete_where(build, {"bool": {"filter": [{"terms": {"document": gone}}]}})
        self._refresh(build)
        self._recount(build, sorted({file for _, file in found}))
        self._state("building")
        return len(found)

    def finish(self) -> None:
        """Publishes the build, and deletes what is older than the index that it replaces."""
        self._lease.require()
        if self._build is None and self._live is not None and not self._rebuild:
            return
        build = self._ensure_build()
        job = self._connection.job
        job(lambda client: client.indices.refresh(index=build.index))
        live = self._live
        first = live is None and not self._written
        ready = replace(
            build,
            state="ready",
            generation=0 if first else (live.generation if live else 0) + 1,
            previous=live.index if live else "",
        )
        job(lambda client: client.indices.put_mapping(index=build.index, meta=ready.meta()))
        job(
            lambda client: client.indices.put_settings(
                index=build.index, settings={**schema.WHEN_READY, **schema.replicas(self._settings)}
            )
        )
        self._lease.require()
        swap(self._connection, self._collection, live, ready)
        self._live, self._build, self._mapped = ready, None, set()
        self._close_bulk()
        self._clean_up()

    def close(self) -> None:
        self._close_bulk()
        self._lease.release()

    def _find(self) -> tuple[Build | None, Build | None]:
        """The live index and a build to go on with. What neither serves nor can be gone back to is deleted."""
        indices = all_indices(self._connection, self._collection)
        live = indices.live
        if live is not None and not self._rebuild:
            Manifest.from_json(live.manifest, oldest=1).require(self._manifest)
        build = indices.building
        base = live.index if live is not None and not self._rebuild else ""
        if build is not None and (build.base, build.manifest) != (base, self._manifest.to_json()):
            build = None  # another job's: since then the index was replaced, or the settings were changed
        if build is not None:
            try:
                self._wait_for_shards(build)
            except BackendUnavailable:
                build = None  # it can't be read any more: it was only a copy
        kept = {found.index for found in (live, build, indices.previous) if found is not None}
        self._delete_indices([index for index in indices.others if index not in kept])
        if build is not None:
            self._open(build)
        return live, build

    def _open(self, build: Build) -> None:
        """Left by a killed job: what it wrote last becomes visible."""
        job = self._connection.job
        job(lambda client: client.indices.put_settings(index=build.index, settings=schema.WHILE_BUILDING))
        self._refresh(build)

    def _ensure_build(self) -> Build:
        if self._build is None:
            live = None if self._rebuild else self._live
            build = Build(
                schema.new_index(self._settings.prefix, self._collection),
                self._manifest.to_json(),
                generation=0,
                state="building",
                vectors=live.vectors if live else self._settings.vectors,
                base=live.index if live else "",
                fields=dict(live.fields or {}) if live else {},
                analyses=live.analyses if live else (),
            )
            if live is None:
                self._create(build)
            else:
                self._clone(live, build)
            self._build = build
            self._mapped = self._mapped_fields()
        return self._build

    def _create(self, build: Build) -> None:
        body = schema.index_body(build, self._settings)
        try:
            self._connection.job(lambda client: client.indices.create(index=build.index, **body))
        except SearchAppError as error:
            if "already exists" not in error.message:  # else an answer got lost
                raise

    def _clone(self, live: Build, build: Build) -> None:
        job = self._connection.job
        # Published indices take no writes, which is what a clone asks for; one that was made by hand may.
        job(lambda client: client.indices.put_settings(index=live.index, settings={"blocks.write": True}))
        settings = {**schema.WHILE_BUILDING, **schema.replicas(self._settings)}
        try:
            job(lambda client: client.indices.clone(index=live.index, target=build.index, settings=settings))
        except SearchAppError as error:
            if "already exists" not in error.message:
                raise
        # The copy has no mapping before its shards are there, and one put on it now would keep them out for ever.
        self._wait_for_shards(build)
        job(lambda client: client.indices.put_mapping(index=build.index, meta=build.meta()))

    def _wait_for_shards(self, build: Build) -> None:
        """Raises BackendUnavailable where some are nowhere when the patience is over."""

        def request(client: Any) -> Any:
            health = client.options(ignore_status=408).cluster.health(
                index=build.index, wait_for_status="yellow", timeout="1s"
            )
            if health["timed_out"]:
                raise Busy(f"{build.index} is {health['status']}")
            return health

        self._connection.job(request)

    def _mapped_fields(self) -> set[str]:
        assert self._build is not None
        index = self._build.index
        found = self._connection.job(
            lambda client: client.indices.get_mapping(index=index, filter_path="*.mappings.properties.m")
        )
        kinds = found.get(index, {}).get("mappings", {}).get("properties", {}).get("m", {}).get("properties", {})
        return {f"m.{kind}.{name}" for kind, about in kinds.items() for name in about.get("properties", {})}

    def _within_limits(self, changes: Sequence[FileChange]) -> tuple[list[Rejection], list[FileChange]]:
        """A file with more different metadata fields than the collection may hold is turned away before any of it."""
        assert self._build is not None
        known = dict(self._build.fields or {})
        analyses = set(self._build.analyses)
        most = self._settings.max_fields
        rejected: list[Rejection] = []
        taken: list[FileChange] = []
        for change in changes:
            path = change.record.path
            if change.first:
                self._broken.discard(path)
            if path in self._broken:
                continue
            fields = dict(pair for document in change.documents for pair in field_kinds(document.meta))
            if len(known | fields) > most:
                new = [name for name in fields if name not in known]
                shown = ", ".join(sorted(new)[:_SHOWN])
                rejected.append(
                    Rejection(
                        path,
                        change.record.source,
                        f"{len(new)} metadata fields that are new ({shown}, …): a collection holds at most {most}; put"
                        " the values into a list field, or raise SEARCH_APP_ELASTICSEARCH__MAX_FIELDS",
                    )
                )
                self._broken.add(path)
                continue
            known |= fields
            analyses |= {self._analysis(document.language) for document in change.documents}
            taken.append(change)
        self._about(fields=known, analyses=tuple(sorted(analyses)))
        return rejected, taken

    def _map_fields(self, changes: Sequence[FileChange]) -> None:
        paths = {
            path for change in changes for document in change.documents for path in schema.typed(document.meta)
        } - self._mapped
        build = self._build
        assert build is not None
        if paths:
            properties = schema.field_mappings(paths)
            self._connection.job(
                lambda client: client.indices.put_mapping(index=build.index, properties=properties, meta=build.meta())
            )
            self._mapped |= paths

    def _about(self, *, fields: Mapping[str, str], analyses: tuple[str, ...]) -> None:
        build = self._build
        assert build is not None
        if (dict(build.fields or {}), build.analyses) == (fields, analyses):
            return
        self._build = build = replace(build, fields=fields, analyses=analyses)
        self._connection.job(lambda client: client.indices.put_mapping(index=build.index, meta=build.meta()))

    def _analysis(self, language: str) -> str:
        fixed = self._manifest.analysis
        return schema.analysis_of(language if fixed == "auto" else fixed)

    def _entries(self, change: FileChange) -> Iterator[Entry]:
        path, source = change.record.path, change.record.source
        file = schema.file_key(path)
        if change.first:
            self._orders[path] = self._passages[path] = 0
        for document in change.documents:
            owner = (path, source, document.title or document.id)
            for id, entry in schema.document_entries(document, file, self._revision, self._orders[path]):
                yield Entry(id, dumps(entry), owner)
            self._orders[path] += 1
            # The passages of a long document come with several parts.
            meta = json.dumps(dict(document.meta), ensure_ascii=False)
            self._languages[document.id] = (self._analysis(document.language), meta, schema.typed(document.meta))
        for passage, vector in zip(change.batch.passages, change.batch.embeddings, strict=True):
            analysis, meta, filters = self._languages[passage.document_id]
            line = schema.passage_entry(
                passage,
                vector,
                file=file,
                revision=self._revision,
                analysis=analysis,
                manifest=self._manifest,
                meta=meta,
                filters=filters,
            )
            yield Entry(f"p:{passage.id}", line, (path, source, passage.title or passage.document_id))
            self._passages[path] += 1
        if change.last:
            for document_id in {document.id for document in change.documents} | {
                passage.document_id for passage in change.batch.passages
            }:
                self._languages.pop(document_id, None)

    def _send(self, entries: Any) -> Refusals:
        self._lease.require()
        if self._bulk is None:
            assert self._build is not None
            self._bulk = BulkWriter(self._connection, self._build.index)
        return self._bulk.send(entries)

    def _refused(self, refusals: Refusals) -> list[Rejection]:
        """What Elasticsearch itself would not take, one by one; the file counts as half done."""
        rejected = []
        for entry, why in refusals:
            path, source, title = entry.owner
            self._broken.add(path)
            kind = "document" if entry.id.startswith("d:") else "passage"
            rejected.append(Rejection(path, source, f"{kind} of '{title}': {why}"))
        return rejected

    def _delete(self, build: Build, paths: Sequence[str], *, keep: str = "") -> None:
        """Entries of the files, but for those of the revision `keep`."""
        for start in range(0, len(paths), _KEYS_AT_ONCE):
            files = [schema.file_key(path) for path in paths[start : start + _KEYS_AT_ONCE]]
            query: dict[str, Any] = {"bool": {"filter": [{"terms": {"file": files}}]}}
            if keep:
                query["bool"]["must_not"] = [{"term": {"revision": keep}}]
            self._delete_where(build, query)

    def _delete_where(self, build: Build, query: dict[str, Any]) -> None:
        self._connection.job(lambda client: client.delete_by_query(index=build.index, query=query, conflicts="proceed"))

    def _entries_of(self, build: Build, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Those of the documents that are there, each with the key of its file."""
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            batch = wanted[start : start + _KEYS_AT_ONCE]
            query = {"bool": {"filter": [{"term": {"kind": "document"}}, {"terms": {"document": batch}}]}}
            for hit in walk(self._connection.job, build.index, query, ["document"], ["document", "file"]):
                yield hit["_source"]["document"], hit["_source"]["file"]

    def _recount(self, build: Build, files: Sequence[str]) -> None:
        """Writes into each file's entry how many documents and passages of it there are."""
        for start in range(0, len(files), _KEYS_AT_ONCE):
            terms = {"terms": {"file": list(files[start : start + _KEYS_AT_ONCE])}}
            left = self._connection.job(
                lambda client: client.search(
                    index=build.index,
                    query=terms,  # noqa: B023
                    size=0,
                    track_total_hits=False,
                    aggs={
                        "files": {
                            "terms": {"field": "file", "size": _KEYS_AT_ONCE},
                            "aggs": {"kinds": {"terms": {"field": "kind", "size": 10}}},
                        }
                    },
                )
            )["aggregations"]["files"]["buckets"]
            counts = {
                bucket["key"]: {kind["key"]: kind["doc_count"] for kind in bucket["kinds"]["buckets"]}
                for bucket in left
            }
            query = {"bool": {"filter": [{"term": {"kind": "file"}}, terms]}}
            entries = []
            for hit in walk(self._connection.job, build.index, query, ["path"], True):
                source = hit["_source"]
                kinds = counts.get(source["file"], {})
                record = replace(schema.file_record(source), documents=kinds.get("document", 0))
                entries.append(
                    _file_entry(record, source["revision"], kinds.get("passage", 0), whole=bool(record.digest))
                )
            self._send(entries)

    def _state(self, state: str) -> None:
        assert self._build is not None
        self._build = build = replace(self._build, state=state)
        self._connection.job(lambda client: client.indices.put_mapping(index=build.index, meta=build.meta()))

    def _was_there(self, path: str) -> bool:
        """Whether an earlier version may have left entries; what the writer was never asked for may be anything."""
        return self._before is None or path in self._before or schema.file_key(path) in self._written

    def _refresh(self, build: Build) -> None:
        self._connection.job(lambda client: client.indices.refresh(index=build.index))

    def _clean_up(self) -> None:
        indices = all_indices(self._connection, self._collection)
        previous = indices.live.previous if indices.live else ""
        self._delete_indices([index for index in indices.others if index != previous])

    def _delete_indices(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self._connection.job(lambda client: client.indices.delete(index=name))  # noqa: B023
            except ExpectedStatus:
                continue

    def _close_bulk(self) -> None:
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None


def swap(connection: Connection, collection: str, live: Build | None, ready: Build) -> None:
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


def _file_entry(record: FileRecord, revision: str, passages: int, *, whole: bool) -> Entry:
    if not whole:
        record = replace(record, digest="", modified_ns=0)
    line = dumps(schema.file_entry(record, revision, passages))
    return Entry(f"f:{schema.file_key(record.path)}", line, (record.path, record.source, record.source))
