"""A collection of the embedded store from ready vectors, written like an indexing job."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing

from tqdm import tqdm

from benchmarks.sentences import Sentences
from search_app.manifest import Manifest
from search_app.protocols import EncoderStamp, FileChange, FileRecord
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.types import Document, Passage, PassageBatch

COLLECTION = "scale"
BUCKETS = 1000
"""Number of equally frequent values of the field `bucket`: `bucket < 10` matches 1 % of the documents."""
_BATCH = 1000


def build(settings: Settings, data: Sentences, stamp: EncoderStamp) -> dict[str, float]:
    """Seconds to write the passages and to finish, caches included."""
    with closing(open_catalog(settings)) as catalog, catalog.writer(COLLECTION, manifest(stamp)) as writer:
        start = time.perf_counter()
        for changes in batches(data, desc=f"{len(data.passages):,} passages"):
            writer.write(changes)
        written = time.perf_counter()
        writer.finish()
        return {"write": written - start, "finish": time.perf_counter() - written}


def manifest(stamp: EncoderStamp) -> Manifest:
    return Manifest(stamp, "v1 224/32", "auto")


def batches(data: Sentences, *, desc: str | None = None, prefix: str = "") -> Iterator[list[FileChange]]:
    """One file per document, a few thousand passages per batch; `prefix` makes new documents of the same texts."""
    buckets = random.Random(3)
    row, pending, count = 0, list[FileChange](), 0
    for document in tqdm(data.documents, desc=desc, unit="document", disable=None if desc else True):
        passages = list[Passage]()
        while row + len(passages) < len(data.passages):
            passage = data.passages[row + len(passages)]
            if passage.document_id != document.id:
                break
            passages.append(passage)
        meta = {"bucket": buckets.randrange(BUCKETS)}
        pending.append(_change(document, passages, data, row, meta, prefix))
        row += len(passages)
        count += len(passages)
        if count >= _BATCH:
            yield pending
            pending, count = [], 0
    if pending:
        yield pending


def _change(
    document: Document, passages: list[Passage], data: Sentences, row: int, meta: dict[str, int], prefix: str
) -> FileChange:
    id, source = prefix + document.id, prefix + document.source
    record = FileRecord(f"/scale/{source}", source, f"{prefix}{document.id}", len(document.text), 1, 1)
    kept = tuple(Passage(prefix + p.id, id, p.title, p.text, p.start, p.end, None, source, meta) for p in passages)
    batch = PassageBatch(kept, data.vectors[row : row + len(kept)])
    return FileChange(record, (Document(id, "", document.text, source, meta, "en"),), batch)
