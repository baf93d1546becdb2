"""An index made anew from itself, by another encoder or splitter: no file is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from indexing.job import Progress, manifest_of, splitter_of
from indexing.pipeline.batching import BATCH_CHARACTERS, PER_DOCUMENT, PartStream, in_parts
from indexing.pipeline.parts import SplitPart
from indexing.splitter import Splitter, Stretch
from search_app.errors import IndexCorrupt, SearchAppError
from search_app.protocols import Encoder, EncoderStamp, FileRecord
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog
from search_app.stores.index import Index
from search_app.types import Document

_PAGE = 10_000
_Owned = list[tuple[FileRecord, list[str]]]
"""Files and the ids of their documents."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is to be done: an earlier rebuild that was interrupted may have done the other `done` files."""

    files: int
    done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Counts of the new index; `encoded` of its passages went through the encoder in this run."""

    files: int
    documents: int
    passages: int
    passages_encoded: int
    files_done_before: int
    truncated_tokens: int
    generation: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def rebuild(
    settings: Settings,
    *,
    encoder: Encoder,
    collection: str = "default",
    batch_characters: int = BATCH_CHARACTERS,
    start: Callable[[Rest], None] = lambda rest: None,
    progress: Progress = lambda size: None,
) -> Rebuilt:
    """Splits and encodes the index's documents beside it, and puts the new index in its place at the end.

    Until then the old one serves, and `rollback` brings it back. A rebuild that was killed has lost a batch at most,
    and the same call goes on there. Files keep their records, so the next `apply` finds nothing changed; what was
    deleted stays deleted.
    """
    from indexing.pipeline.pipeline import indexing_pipeline, overlapping

    began = time.perf_counter()
    truncated = encoder.truncated_tokens
    encoded = 0
    with (
        closing(open_catalog(settings)) as catalog,
        closing(catalog.open(check_collection_name(collection))) as old,
        catalog.writer(collection, manifest_of(settings, encoder), rebuild=True) as writer,
    ):
        records = {record.path: record for record in old.files()}
        there = {record.path: record for record in writer.files()}
        done = {path for path, record in there.items() if record.digest and records.get(path) == record}
        todo = _owned(old, [record for path, record in records.items() if path not in done])
        start(Rest(len(todo), len(done), sum(record.size for record, _ in todo)))
        writer.remove_files([path for path in there if path not in records])
        split = splitter_of(settings, encoder)
        parts = PartStream(_parts(old, todo, split))
        earlier = old if _same_vectors(old.manifest.encoder, encoder.stamp) else None
        with overlapping(indexing_pipeline(parts, encoder, writer, earlier=earlier), batch_characters) as batches:
            for changes in batches:
                if changes.rejected:
                    refused = changes.rejected[0]
                    raise SearchAppError(
                        f"{refused.source}: {refused.reason}", hint="the index that was there goes on serving"
                    )
                encoded += changes.encoded
                progress(changes.bytes)
        writer.finish()
        with closing(catalog.open(collection)) as new:
            counts = new.counts()
            return Rebuilt(
                counts["files"],
                counts["documents"],
                counts["passages"],
                encoded,
                len(done),
                encoder.truncated_tokens - truncated,
                new.generation,
                round(time.perf_counter() - began, 3),
            )


def _same_vectors(ours: EncoderStamp, theirs: EncoderStamp) -> bool:
    return (ours.digest, ours.dim, ours.max_tokens) == (theirs.digest, theirs.dim, theirs.max_tokens)


def _owned(index: Index, records: Sequence[FileRecord]) -> _Owned:
    """Each file with its documents; files that were named alike from different folders are told apart one by one."""
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


def _parts(index: Index, files: _Owned, split: Splitter) -> Iterator[SplitPart]:
    for record, ids in files:
        total = record.size + PER_DOCUMENT * len(ids)
        yield from in_parts(record, _contents(index, ids, split), total=total)


def _contents(index: Index, ids: Sequence[str], split: Splitter) -> Iterator[Document | Stretch]:
    for id in ids:
        document = index.document(id)
        if document is None:
            raise IndexCorrupt(f"document '{id}' is listed and is not there", hint="run: search-index verify")
        yield document
        yield from split.stretches(document)
