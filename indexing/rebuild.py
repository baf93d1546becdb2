"""Rebuild an index from its own documents with another encoder or splitter; the files are not needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from indexing.batches import BATCH_CHARACTERS, DOCUMENT_CHARACTERS, FileChunk, in_batches, in_chunks
from indexing.job import Progress, manifest_of, splitter_of
from indexing.runner import encode_and_write
from indexing.splitter import Splitter
from search_app.errors import IndexCorrupt, SearchAppError
from search_app.protocols import Encoder, EncoderStamp, FileRecord
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog
from search_app.stores.index import Index
from search_app.types import Document, Passage

_PAGE = 10_000
_FileDocuments = list[tuple[FileRecord, list[str]]]
"""Files, each with the ids of its documents."""


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """Files and their bytes to rebuild; an interrupted rebuild has finished `done` others."""

    files: int
    done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """Counts of the new index; `passages_encoded` went through the encoder in this run."""

    files: int
    documents: int
    passages: int
    passages_encoded: int
    files_done_before: int
    truncated_tokens: int
    generation: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def rebuild(
    settings: Settings,
    *,
    encoder: Encoder,
    collection: str = "default",
    batch_characters: int = BATCH_CHARACTERS,
    start: Callable[[RebuildPlan], None] = lambda plan: None,
    progress: Progress = lambda size: None,
) -> RebuildResult:
    """Split and encode the index's documents into a new index, which replaces it at the end.

    Until then the old index serves, and `rollback` brings it back. A killed rebuild loses one batch at most, and the
    same call continues it. Files keep their records, so the next `apply` finds nothing changed; deleted documents stay
    deleted.
    """
    began = time.perf_counter()
    truncated = encoded = 0
    with (
        closing(open_catalog(settings)) as catalog,
        closing(catalog.open(check_collection_name(collection))) as old,
        catalog.writer(collection, manifest_of(settings, encoder), rebuild=True) as writer,
    ):
        records = {record.path: record for record in old.files()}
        written = {record.path: record for record in writer.files()}
        done = {path for path, record in written.items() if record.digest and records.get(path) == record}
        todo = _with_documents(old, [record for path, record in records.items() if path not in done])
        start(RebuildPlan(len(todo), len(done), sum(record.size for record, _ in todo)))
        writer.remove_files([path for path in written if path not in records])
        chunks = _chunks(old, todo, splitter_of(settings, encoder))
        earlier = old if _same_vectors(old.manifest.encoder, encoder.stamp) else None
        batches = in_batches(chunks, characters=batch_characters)
        with encode_and_write(batches, encoder, writer, earlier=earlier) as reports:
            for report in reports:
                for failure in report.failures:
                    raise SearchAppError(f"{failure.source}: {failure.reason}", hint="the old index still serves")
                encoded += report.encoded
                truncated += report.truncated
                progress(report.bytes)
        writer.finish()
        with closing(catalog.open(collection)) as new:
            counts = new.counts()
            return RebuildResult(
                counts["files"],
                counts["documents"],
                counts["passages"],
                encoded,
                len(done),
                truncated,
                new.generation,
                round(time.perf_counter() - began, 3),
            )


def _same_vectors(ours: EncoderStamp, theirs: EncoderStamp) -> bool:
    return (ours.digest, ours.dim, ours.max_tokens) == (theirs.digest, theirs.dim, theirs.max_tokens)


def _with_documents(index: Index, records: Sequence[FileRecord]) -> _FileDocuments:
    """Each file with its documents. Files of the same source from different folders are looked up one by one."""
    ids: dict[str, list[str]] = {record.path: [] for record in records}
    by_source: dict[str, list[FileRecord]] = {}
    for record in index.files():
        by_source.setdefault(record.source, []).append(record)
    offset = 0
    while ids and (page := index.documents(limit=_PAGE, offset=offset)):
        for document in page:
            candidates = by_source.get(document.source, [])
            owner = candidates[0] if len(candidates) == 1 else index.file_of(document.id)
            if owner is not None and owner.path in ids:
                ids[owner.path].append(document.id)
        offset += len(page)
    return [(record, ids[record.path]) for record in records]


def _chunks(index: Index, files: _FileDocuments, splitter: Splitter) -> Iterator[FileChunk]:
    for record, ids in files:
        total = record.size + DOCUMENT_CHARACTERS * len(ids)
        yield from in_chunks(record, _contents(index, ids, splitter), total=total)


def _contents(index: Index, ids: Sequence[str], splitter: Splitter) -> Iterator[Document | list[Passage]]:
    for id in ids:
        document = index.document(id)
        if document is None:
            raise IndexCorrupt(f"document '{id}' is listed but missing", hint="run: search-index verify")
        yield document
        yield from splitter.passage_lists(document)
