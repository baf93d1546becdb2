"""Compare an index with the files that it was made from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from indexing import sources, unread
from indexing.batches import FileFailure
from indexing.conversion import Conversions
from indexing.splitter import SplitConfig
from search_app.errors import SearchAppError
from search_app.protocols import FileRecord
from search_app.stores.index import Index

_CHARACTERS = 1 << 20


def differences(index: Index, *, sample: int, fields: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Problems, in words, of a random sample of files: those with another text in the index than in the file.

    Files that have changed since are left to the next job. Deleted documents are no problem either, as the record of
    their file counts without them. `fields` are those of the settings.
    """
    records = [record for record in index.files() if record.digest]
    records = random.sample(records, min(sample, len(records)))
    same = [(file, unread.unmarked(record.digest)) for record in records for file in _unchanged(record)]
    expected = {record.path: record.documents for record in records}
    problems: dict[str, str] = {}
    missing: defaultdict[str, list[str]] = defaultdict(list)
    whole = SplitConfig(
        "",
        passage_tokens=0,
        overlap_tokens=0,
        max_tokens=0,
        language=index.manifest.analysis,
        fields=tuple(fields),
    )
    with Conversions(same, whole, chunk_characters=_CHARACTERS) as chunks:
        for chunk in chunks:
            if isinstance(chunk, FileFailure):
                continue
            record = chunk.record
            for document in chunk.documents:
                stored = index.document(document.id)
                if stored is None:
                    missing[record.path].append(document.title)
                elif stored.text != document.text:
                    problems[record.source] = f"document '{document.title}' has another text"
            gone = missing[record.path]
            if chunk.last and expected[record.path] + len(gone) != record.documents:
                problems[record.source] = (
                    f"document '{gone[0]}' is missing" if gone else f"{record.documents} documents"
                )
    return [
        f"{source} differs from the index: {what}; run: search-index apply --rebuild PATH"
        for source, what in problems.items()
    ]


def _unchanged(record: FileRecord) -> list[sources.SourceFile]:
    if unread.is_outdated(record.digest) or sources.has_vanished(record.path):
        return []
    try:
        found = sources.scan([record.path])
        return [file for file in found.files() if sources.digest(file) == unread.unmarked(record.digest)]
    except (OSError, SearchAppError):  # an object store that does not answer is no fault of the index
        return []
