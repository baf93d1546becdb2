"""Write parts of files into an index version from any machine, in any order; writing a part twice does no harm.

Entries have the ids of documents and passages, and carry the revision of their job. One job (the driver) opens the
version, completes and removes files, and publishes. A `PartWriter` marks files as unfinished and adds entries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from search_app.manifest import Manifest
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.settings import ElasticsearchSettings
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.bulk import BulkWriter, Entry
from search_app.stores.elasticsearch.connection import Connection, dumps
from search_app.stores.elasticsearch.lease import require_held
from search_app.stores.elasticsearch.records import Fields
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.filters import field_kinds
from search_app.types import Meta

_KEYS_AT_ONCE = 500
_SHOWN = 3
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part that needs no other one of its file.

    `order` is the number in the file of the first document that begins here; `languages`, by id, are those of the
    documents that began in an earlier part and have passages here.
    """

    change: FileChange
    order: int = 0
    languages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartWritten:
    """What is in the version of a part now; not `kept` where nothing of it was taken."""

    path: str
    documents: int = 0
    passages: int = 0
    rejections: tuple[Rejection, ...] = ()
    kept: bool = True


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file whose parts have all been written, each counted once. `record` says how many documents there are."""

    record: FileRecord
    parts: tuple[PartWritten, ...]


class PartWriter:
    """One machine's hand in a job that another one drives; `shared` is the driver's `part_writer_config()`.

    Raises IndexBusy once the driver's lease has gone to another job or is given back.
    """

    def __init__(self, settings: ElasticsearchSettings, shared: Mapping[str, Any]) -> None:
        self._connection = Connection(settings)
        self._shared = dict(shared)
        self._begun: set[str] = set()
        version = IndexVersion.of(shared["index"], {"_meta": shared["meta"]})
        assert version is not None
        self._entries = EntryWriter(self._connection, version, require=self._require)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return vectors_in(self._connection, self._shared["indices"], keys)

    def write(self, parts: Sequence[FilePart]) -> list[PartWritten]:
        """One answer a part, in their order; returns when all is on disk. Their files count as begun from then on."""
        taken, refused = self._entries.accept(parts)
        self._begin({part.change.record.path: part.change.record for part in taken})
        written = iter(self._entries.send(taken, revision=self._shared["revision"]))
        return [refused[number] if number in refused else next(written) for number in range(len(parts))]

    def close(self) -> None:
        self._entries.close()
        self._connection.close()

    def _begin(self, records: Mapping[str, FileRecord]) -> None:
        """Marks the files, but for those that this job has begun or even completed: a part may come again, and late."""
        new = [record for path, record in records.items() if path not in self._begun]
        if not new:
            return
        if len(self._begun) > _REMEMBERED:
            self._begun.clear()
        ids = [f"f:{schema.file_key(record.path)}" for record in new]
        found = self._connection.job(
            lambda client: client.mget(index=self._shared["index"], ids=ids, source_includes=["revision"])
        )["docs"]
        revision = self._shared["revision"]
        self._entries.put(
            unfinished_file(
                record,
                revision,
                {"if_seq_no": there["_seq_no"], "if_primary_term": there["_primary_term"]}
                if there["found"]
                else {"op_type": "create"},
            )
            for record, there in zip(new, found, strict=True)
            if not there["found"] or there["_source"]["revision"] != revision
        )
        self._begun.update(record.path for record in new)

    def _require(self) -> None:
        require_held(self._connection, self._shared["lease"], self._shared["token"])


class EntryWriter:
    """Documents and passages into one version; `require` raises where that is no longer this job's."""

    def __init__(self, connection: Connection, version: IndexVersion, *, require: Callable[[], None]) -> None:
        self._connection = connection
        self._require = require
        self._index = version.index
        self._manifest = Manifest.from_json(version.manifest, oldest=1)
        self._bulk: BulkWriter | None = None
        self._mapped = mapped_fields(connection, version.index)
        self.fields = Fields(connection, version)

    def accept(self, parts: Sequence[FilePart]) -> tuple[list[FilePart], dict[int, PartWritten]]:
        """Those within the limit of metadata fields, mapped; the others by their place in `parts`."""
        refused: dict[int, PartWritten] = {}
        if not self._claim(parts):
            over: set[str] = set()
            for number, part in enumerate(parts):
                path = part.change.record.path
                if path in over:
                    refused[number] = PartWritten(path, kept=False)
                elif not self._claim([part]):
                    over.add(path)
                    refused[number] = PartWritten(path, rejections=(self._too_many(part),), kept=False)
        taken = [part for number, part in enumerate(parts) if number not in refused]
        self._map(taken)
        return taken, refused

    def send(self, parts: Sequence[FilePart], *, revision: str) -> list[PartWritten]:
        """Documents, texts and passages. What Elasticsearch itself would not take is told one by one."""
        rejections: dict[int, list[Rejection]] = {}
        refusals = self.put(
            entry for number, part in enumerate(parts) for entry in self._entries(number, part, revision)
        )
        for entry, why in refusals:
            number, title = entry.owner
            record = parts[number].change.record
            kind = "passage" if entry.id.startswith("p:") else "document"
            rejections.setdefault(number, []).append(
                Rejection(record.path, record.source, f"{kind} of '{title}': {why}")
            )
        return [
            PartWritten(
                part.change.record.path,
                len(part.change.documents),
                len(part.change.batch.passages),
                tuple(rejections.get(number, ())),
            )
            for number, part in enumerate(parts)
        ]

    def put(self, entries: Any) -> list[tuple[Entry, str]]:
        self._require()
        if self._bulk is None:
            self._bulk = BulkWriter(self._connection, self._index)
        return self._bulk.send(entries)

    def close(self) -> None:
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None

    def _claim(self, parts: Sequence[FilePart]) -> bool:
        languages = {document.language for part in parts for document in part.change.documents}
        return self.fields.claim(
            dict(pair for part in parts for meta in _metas(part) for pair in field_kinds(meta)),
            sorted(map(self._analysis, languages)),
        )

    def _too_many(self, part: FilePart) -> Rejection:
        names = {name: None for meta in _metas(part) for name, _ in field_kinds(meta)}
        new = [name for name in names if name not in self.fields.names]
        shown = ", ".join(sorted(new)[:_SHOWN])
        return Rejection(
            part.change.record.path,
            part.change.record.source,
            f"{len(new)} metadata fields that are new ({shown}, …): a collection holds at most"
            f" {self._connection.settings.max_fields}; put the values into a list field, or raise"
            " SEARCH_APP_ELASTICSEARCH__MAX_FIELDS",
        )

    def _map(self, parts: Sequence[FilePart]) -> None:
        paths = {path for part in parts for meta in _metas(part) for path in schema.typed(meta)} - self._mapped
        if paths:
            # Without _meta, which is its job's alone: a mapping that is put is merged into what is there.
            properties = schema.field_mappings(paths)
            self._connection.job(lambda client: client.indices.put_mapping(index=self._index, properties=properties))
            self._mapped |= paths

    def _analysis(self, language: str) -> str:
        fixed = self._manifest.analysis
        return schema.analysis_of(language if fixed == "auto" else fixed)

    def _entries(self, number: int, part: FilePart, revision: str) -> Iterator[Entry]:
        change = part.change
        file = schema.file_key(change.record.path)
        languages = dict(part.languages)
        about: dict[str, tuple[str, dict[str, list[Any]]]] = {}
        for order, document in enumerate(change.documents, start=part.order):
            languages[document.id] = document.language
            about[document.id] = _metadata(document.meta)
            for id, entry in schema.document_entries(document, file, revision, order):
                yield Entry(id, dumps(entry), (number, document.title or document.id))
        for passage, vector in zip(change.batch.passages, change.batch.embeddings, strict=True):
            if passage.document_id not in about:
                about[passage.document_id] = _metadata(passage.meta)
            meta, filters = about[passage.document_id]
            line = schema.passage_entry(
                passage,
                vector,
                file=file,
                revision=revision,
                analysis=self._analysis(languages[passage.document_id]),
                manifest=self._manifest,
                meta=meta,
                filters=filters,
            )
            yield Entry(f"p:{passage.id}", line, (number, passage.title or passage.document_id))


def vectors_in(connection: Connection, indices: Sequence[str], keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """By key; those that the indices hold."""
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
        hits = connection.job(lambda client: client.search(index=sorted(indices), **body))["hits"]["hits"]  # noqa: B023
        found.update((hit["fields"]["key"][0], schema.vector_of(hit["fields"]["vector"][0])) for hit in hits)
    return found


def mapped_fields(connection: Connection, index: str) -> set[str]:
    found = connection.job(
        lambda client: client.indices.get_mapping(index=index, filter_path="*.mappings.properties.m")
    )
    kinds = found.get(index, {}).get("mappings", {}).get("properties", {}).get("m", {}).get("properties", {})
    return {f"m.{kind}.{name}" for kind, about in kinds.items() for name in about.get("properties", {})}


def _metas(part: FilePart) -> list[Meta]:
    """Of each document with anything in this part, which may be here before the document itself."""
    metas = {passage.document_id: passage.meta for passage in part.change.batch.passages}
    return list((metas | {document.id: document.meta for document in part.change.documents}).values())


def unfinished_file(record: FileRecord, revision: str, condition: Mapping[str, Any] | None = None) -> Entry:
    """Of a file that is not complete: without a digest, so the next job does it again."""
    return file_entry(replace(record, digest="", modified_ns=0), revision, 0, condition)


def file_entry(record: FileRecord, revision: str, passages: int, condition: Mapping[str, Any] | None = None) -> Entry:
    line = dumps(schema.file_entry(record, revision, passages))
    return Entry(f"f:{schema.file_key(record.path)}", line, condition=condition)


def _metadata(meta: Meta) -> tuple[str, dict[str, list[Any]]]:
    return json.dumps(dict(meta), ensure_ascii=False), schema.typed(meta)
