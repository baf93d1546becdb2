"""An index against the files that it was made from."""

from __future__ import annotations

import random
from collections import defaultdict

from indexing import sources
from indexing.conversion import Conversions
from indexing.split_config import SplitConfig
from search_app.errors import SearchAppError
from search_app.protocols import FileRecord
from search_app.stores.index import Index

_CHARACTERS = 1 << 20


def differences(index: Index, *, sample: int) -> list[str]:
    """Files of a random sample whose text in the index is not what is read from them now, in words.

    A file that has changed since is not looked at: that the next job will index it again is no damage. Nor is it that
    documents were deleted, which the record of their file knows of.
    """
    records = [record for record in index.files() if record.digest]
    records = random.sample(records, min(sample, len(records)))
    same = [(file, record.digest) for record in records for file in _unchanged(record)]
    expected = {record.path: record.documents for record in records}
    problems: dict[str, str] = {}
    missing: defaultdict[str, list[str]] = defaultdict(list)
    whole = SplitConfig("", passage_tokens=0, overlap_tokens=0, max_tokens=0, language=index.manifest.analysis)
    with Conversions(same, whole, part_characters=_CHARACTERS) as conversions:
        while not conversions.exhausted:
            for part in conversions.take(_CHARACTERS).items:
                record = part.record
                for document in part.documents:
                    stored = index.document(document.id)
                    if stored is None:
                        missing[record.path].append(document.title)
                    elif stored.text != document.text:
                        problems[record.source] = f"document '{document.title}' has another text"
                gone = missing[record.path]
                if part.last and expected[record.path] + len(gone) != record.documents:
                    problems[record.source] = (
                        f"document '{gone[0]}' is missing" if gone else f"{record.documents} documents"
                    )
    return [
        f"{source} is not in the index as it is read today: {what}; run: search-index apply --rebuild PATH"
        for source, what in problems.items()
    ]


def _unchanged(record: FileRecord) -> list[sources.SourceFile]:
    if sources.has_vanished(record.path):
        return []
    try:
        found = sources.scan([record.path])
        return [file for file in found.files() if sources.digest(file) == record.digest]
    except (OSError, SearchAppError):  # an object store that is away says nothing of the index
        return []
