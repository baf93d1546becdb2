"""Read a whole collection as the changes that would write it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from search_app.manifest import Manifest
from search_app.protocols import FileChange
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.elasticsearch.store import walk
from search_app.types import Document

_PASSAGES = 500


def export(connection: Connection, live: IndexVersion) -> Iterator[FileChange]:
    """File by file, large files in parts, with the exact vectors."""
    for hit in walk(connection.job, live.index, {"term": {"kind": "file"}}, ["path"], True):
        record = schema.file_record(hit["_source"])
        if record.digest:
            yield from _file(connection, live, record.path, hit["_source"])


def _file(connection: Connection, live: IndexVersion, path: str, source: dict[str, object]) -> Iterator[FileChange]:
    record = schema.file_record(source)
    documents = _documents(connection, live, path)
    passages = walk(
        connection.job,
        live.index,
        {"bool": {"filter": [{"term": {"kind": "passage"}}, {"term": {"file": schema.file_key(path)}}]}},
        ["document", "start", "key"],
        {"includes": list(schema.PASSAGE_FIELDS)},
        stored=["vector"],
    )
    dim = Manifest.from_json(live.manifest, oldest=1).encoder.dim
    first, ended = True, False
    while not ended:
        hits = list(itertools.islice(passages, _PASSAGES))
        ended = len(hits) < _PASSAGES
        yield FileChange(record, documents if first else (), schema.batch_of(hits, dim), first=first, last=ended)
        first = False


def _documents(connection: Connection, live: IndexVersion, path: str) -> tuple[Document, ...]:
    def entries(kind: str, sort: list[str]) -> Iterator[tuple[str, dict[str, object]]]:
        query = {"bool": {"filter": [{"term": {"kind": kind}}, {"term": {"file": schema.file_key(path)}}]}}
        for hit in walk(connection.job, live.index, query, sort, True):
            yield hit["_source"]["document"], hit["_source"]

    more: dict[str, str] = {}
    for id, source in entries("text", ["document", "order"]):
        more[id] = more.get(id, "") + str(source["text"])
    return tuple(
        schema.document_of(id, source, str(source["text"]) + more.get(id, ""))
        for id, source in entries("document", ["order", "document"])
    )
