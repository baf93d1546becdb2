"""Write parts of files into an index version from any machine, in any order; writing a part twice does no harm.

Entries have the ids of documents and passages, and carry the revision of their job. One job (the driver) opens the
version, completes and removes files, and publishes. A `PartWriter` marks files as unfinished and adds entries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from search_app.manifest import Manifest
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.settings import ElasticsearchSettings
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.bulk import BulkWriter, Entry
from search_app.stores.elasticsearch.connection import Connection, dumps
from search_app.stores.elasticsearch.lease import require_lease
from search_app.stores.elasticsearch.records import Fields
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.filters import field_kinds
from search_app.types import Meta

_KEYS_PER_REQUEST = 500
_SHOWN = 3
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class PartWritten:
    """What was written of a part; `kept` is False if the whole part was rejected."""

    path: str
    documents: int = 0
    passages: int = 0
    rejections: tuple[Rejection, ...] = ()
    kept: bool = True


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file with all its parts, each listed once. `record` has the number of documents."""

    record: FileRecord
    parts: tuple[PartWritten, ...]


class PartWriter:
    """Writes parts for a job on another machine (the driver); `shared` is its `part_writer_config()`.

    Raises IndexBusy once the driver has lost or released its lease.
    """

    def __init__(self, settings: ElasticsearchSettings, shared: Mapping[str, Any]) -> None:
        self._connection = Connection(settings)
        self._shared = dict(shared)
        self._marked: set[str] = set()
        version = IndexVersion.of(shared["index"], {"_meta": shared["meta"]})
        assert version is not None
        self._entries = EntryWriter(self._connection, version, require=self._require)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return vectors_in(self._connection, self._shared["indices"], keys)

    def write(self, parts: Sequence[FileChange]) -> list[PartWritten]:
        """Write parts and mark their files as unfinished; returns one result per part, when everything is stored."""
        taken, refused = self._entries.accept(parts)
        self._mark({part.record.path: part.record for part in taken})
        written = iter(self._entries.send(taken, revision=self._shared["revision"]))
        return [refused[number] if number in refused else next(written) for number in range(len(parts))]

    def close(self) -> None:
        self._entries.close()
        self._connection.close()

    def _mark(self, records: Mapping[str, FileRecord]) -> None:
        """Mark files as unfinished, unless this job has marked or completed them: a part may be repeated late."""
        new = [record for path, record in records.items() if path not in self._marked]
        if not new:
            return
        if len(self._marked) > _REMEMBERED:
            self._marked.clear()
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
        self._marked.update(record.path for record in new)

    def _require(self) -> None:
        require_lease(self._connection, self._shared["lease"], self._shared["token"])


class EntryWriter:
    """Writes documents and passages into a version; `require` raises once the job has lost its lease."""

    def __init__(self, connection: Connection, version: IndexVersion, *, require: Callable[[], None]) -> None:
        self._connection = connection
        self._require = require
        self._index = version.index
        self._manifest = Manifest.from_json(version.manifest, oldest=1)
        self._bulk: BulkWriter | None = None
        self._mapped = mapped_fields(connection, version.index)
        self.fields = Fields(connection, version)

    def accept(self, parts: Sequence[FileChange]) -> tuple[list[FileChange], dict[int, PartWritten]]:
        """Claim and map metadata fields. Returns the parts within the limit, and rejections by index for the others."""
        refused: dict[int, PartWritten] = {}
        if not self._claim(parts):
            over: set[str] = set()
            for number, part in enumerate(parts):
                path = part.record.path
                if path in over:
                    refused[number] = PartWritten(path, kept=False)
                elif not self._claim([part]):
                    over.add(path)
                    refused[number] = PartWritten(path, rejections=(self._too_many(part),), kept=False)
        taken = [part for number, part in enumerate(parts) if number not in refused]
        self._map(taken)
        return taken, refused

    def send(self, parts: Sequence[FileChange], *, revision: str) -> list[PartWritten]:
        """Write documents, texts and passages; rejections by Elasticsearch are reported one by one."""
        rejections: dict[int, list[Rejection]] = {}
        refusals = self.put(
            entry for number, part in enumerate(parts) for entry in self._entries(number, part, revision)
        )
        for entry, why in refusals:
            number, title = entry.owner
            record = parts[number].record
            kind = "passage" if entry.id.startswith("p:") else "document"
            rejections.setdefault(number, []).append(
                Rejection(record.path, record.source, f"{kind} of '{title}': {why}")
            )
        return [
            PartWritten(
                part.record.path,
                len(part.documents),
                len(part.batch.passages),
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

    def _claim(self, parts: Sequence[FileChange]) -> bool:
        languages = {document.language for part in parts for document in part.documents}
        return self.fields.claim(
            dict(pair for part in parts for meta in _metas(part) for pair in field_kinds(meta)),
            sorted(map(self._analysis, languages)),
        )

    def _too_many(self, part: FileChange) -> Rejection:
        names = {name: None for meta in _metas(part) for name, _ in field_kinds(meta)}
        new = [name for name in names if name not in self.fields.names]
        shown = ", ".join(sorted(new)[:_SHOWN])
        return Rejection(
            part.record.path,
            part.record.source,
            f"{len(new)} new metadata fields ({shown}, …), but a collection can have"
            f" {self._connection.settings.max_fields}; put the values into a list field, or raise"
            " SEARCH_APP_ELASTICSEARCH__MAX_FIELDS",
        )

    def _map(self, parts: Sequence[FileChange]) -> None:
        paths = {path for part in parts for meta in _metas(part) for path in schema.typed(meta)} - self._mapped
        if paths:
            # Mappings are merged; `_meta` is left to the driver.
            properties = schema.field_mappings(paths)
            self._connection.job(lambda client: client.indices.put_mapping(index=self._index, properties=properties))
            self._mapped |= paths

    def _analysis(self, language: str) -> str:
        fixed = self._manifest.analysis
        return schema.analysis_of(language if fixed == "auto" else fixed)

    def _entries(self, number: int, part: FileChange, revision: str) -> Iterator[Entry]:
        file = schema.file_key(part.record.path)
        languages = dict(part.languages)
        about: dict[str, tuple[str, dict[str, list[Any]]]] = {}
        for order, document in enumerate(part.documents, start=part.first_document):
            languages[document.id] = document.language
            about[document.id] = _metadata(document.meta)
            for id, entry in schema.document_entries(document, file, revision, order):
                yield Entry(id, dumps(entry), (number, document.title or document.id))
        for passage, vector in zip(part.batch.passages, part.batch.embeddings, strict=True):
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
    """The vectors in the indices, by key."""
    found: dict[str, NDArray[np.float32]] = {}
    if not indices:
        return found
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        wanted = list(keys[start : start + _KEYS_PER_REQUEST])
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
    """Paths of the metadata fields in the index's mapping."""
    found = connection.job(
        lambda client: client.indices.get_mapping(index=index, filter_path="*.mappings.properties.m")
    )
    kinds = found.get(index, {}).get("mappings", {}).get("properties", {}).get("m", {}).get("properties", {})
    return {f"m.{kind}.{name}" for kind, about in kinds.items() for name in about.get("properties", {})}


def _metas(part: FileChange) -> list[Meta]:
    """The metadata of each document with passages in this part; the document itself may be in another part."""
    metas = {passage.document_id: passage.meta for passage in part.batch.passages}
    return list((metas | {document.id: document.meta for document in part.documents}).values())


def unfinished_file(record: FileRecord, revision: str, condition: Mapping[str, Any] | None = None) -> Entry:
    """The entry of an unfinished file: without a digest, so the next job indexes it again."""
    return file_entry(replace(record, digest="", modified_ns=0), revision, 0, condition)


def file_entry(record: FileRecord, revision: str, passages: int, condition: Mapping[str, Any] | None = None) -> Entry:
    """The bulk entry of a file's record."""
    line = dumps(schema.file_entry(record, revision, passages))
    return Entry(f"f:{schema.file_key(record.path)}", line, condition=condition)


def _metadata(meta: Meta) -> tuple[str, dict[str, list[Any]]]:
    return json.dumps(dict(meta), ensure_ascii=False), schema.typed(meta)
