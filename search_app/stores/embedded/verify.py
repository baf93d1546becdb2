"""Check an index: its pages, rows, their consistency, and what is derived from them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from search_app.errors import IndexCorrupt, IndexMismatch, IndexNotFound, IndexUnavailable
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.stores.embedded import attributes, caches, checksums, generation, stored, terms
from search_app.stores.embedded.connection import connect_reading, rows, translated
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE, TABLES, tables_of
from search_app.stores.embedded.state import holds_index, last_commit, read_format, read_manifest
from search_app.text.reading import keyword_texts
from search_app.types import Passage

_DISAGREEMENTS = {
    "passages without a vector": (
        "SELECT count(*) FROM passages WHERE vector IS NOT NULL AND vector NOT IN (SELECT rowid FROM vectors)"
    ),
    "passages without a document": "SELECT count(*) FROM passages WHERE document NOT IN (SELECT rowid FROM documents)",
    "documents without a file": "SELECT count(*) FROM documents WHERE file NOT IN (SELECT id FROM files)",
    "passages that differ from their document's text": (
        "SELECT count(*) FROM passages p JOIN documents d ON d.rowid = p.document"
        " WHERE length(d.text) < 1000000 AND substr(d.text, p.start + 1, p.end - p.start) != p.text"
    ),
    "passages that exist and are listed as removed": (
        "SELECT count(*) FROM removed WHERE passage IN (SELECT rowid FROM passages)"
    ),
}
_DISAGREEMENTS_OF_WORDS = {
    "passages missing from the BM25 index": (
        "SELECT count(*) FROM passages WHERE rowid NOT IN (SELECT passage FROM terms)"
    ),
    "BM25 entries without a passage": "SELECT count(*) FROM terms WHERE passage NOT IN (SELECT rowid FROM passages)",
}

_CHECKSUMS = {
    "document": (
        "SELECT rowid, checksum, id, file, title, source, language, meta FROM documents",
        checksums.of_document,
    ),
    "text of document": (
        "SELECT rowid, text_checksum, * FROM documents",
        lambda _, *columns: stored.text_checksum(columns),
    ),
    "vector": ("SELECT rowid, checksum, embedding FROM vectors", checksums.of_vector),
    "passage": ("SELECT rowid, checksum, * FROM passages", lambda _, *columns: stored.passage_checksum(columns)),
}
_CHECKSUMS_OF_WORDS = {
    "words of passage": ("SELECT passage, checksum, length, words, counts FROM terms", checksums.of_terms)
}
_UNIT = 1e-2
_SAMPLE = 1_000
_DOCUMENTS_PER_BATCH = 1_000
_LISTED = 20
"""Rows listed for one kind of problem."""


class Part(Enum):
    """The damaged part: SOURCE cannot be derived from anything else here; the others can."""

    SOURCE = "source"
    ROWS = "derived rows"
    CACHES = "caches"
    GENERATION = "generation"
    PREVIOUS = "previous index"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is damaged, and what it belongs to."""

    part: Part
    text: str


def verify(folder: Path, *, collection: str) -> list[str]:
    """The problems found, one sentence each; empty for a sound index. Raises IndexNotFound, IndexMismatch."""
    return [problem.text for problem in examine(folder, collection=collection)]


def examine(folder: Path, *, collection: str) -> list[Problem]:
    """The same with the part that each problem affects."""
    path = folder / INDEX_FILE
    if not path.exists():
        raise IndexNotFound(collection)
    recorded, found = None, []
    try:
        recorded = generation.read(folder)  # first: a commit in between is no contradiction
        if recorded is None:
            found.append(Problem(Part.GENERATION, f"{folder / generation.GENERATION_FILE} is missing"))
    except IndexCorrupt as error:
        found.append(Problem(Part.GENERATION, error.message))
    try:
        db = connect_reading(path)
    except IndexCorrupt as error:
        return [*found, Problem(Part.SOURCE, error.message)]
    with closing(db):
        db.execute("BEGIN")
        try:
            with translated(path):
                if not holds_index(db):
                    return [*found, Problem(Part.SOURCE, f"{path} contains no index")]
                generation.require(recorded, folder, *last_commit(db))
        except IndexCorrupt as error:
            found.append(Problem(Part.GENERATION, error.message))
        found += examine_rows(db, path)
        if db.in_transaction:  # an error may have ended it
            db.execute("ROLLBACK")
        found += [Problem(Part.CACHES, text) for text in _caches(db, folder, path)]
    return found + _previous(folder / PREVIOUS_FILE)


def _previous(path: Path) -> list[Problem]:
    """Problems of the index that `rollback` would serve."""
    if not path.exists():
        return []
    try:
        with closing(connect_reading(path)) as db:
            problems = examine_rows(db, path)
    except IndexMismatch:
        return []  # an earlier format, which `rollback` upgrades
    except IndexUnavailable as error:
        return [Problem(Part.PREVIOUS, error.message)]
    return [Problem(Part.PREVIOUS, f"{path}: {problem.text}") for problem in problems]


def examine_rows(db: apsw.Connection, path: Path) -> list[Problem]:
    """Problems of the index file alone."""
    try:
        with translated(path):
            if not holds_index(db):
                return [Problem(Part.SOURCE, f"{path} contains no index")]
            manifest = read_manifest(db)
    except IndexCorrupt as error:
        return [Problem(Part.SOURCE, error.message)]
    checks: list[tuple[Part, Callable[[], Iterator[str]]]] = [
        (Part.ROWS, lambda: foreign_tables(db)),
        (Part.ROWS, lambda: _pages(db)),
        (Part.SOURCE, lambda: _counted(db, _DISAGREEMENTS)),
        (Part.ROWS, lambda: _counted(db, _DISAGREEMENTS_OF_WORDS)),
        (Part.SOURCE, lambda: _checksums(db, _CHECKSUMS)),
        (Part.ROWS, lambda: _checksums(db, _CHECKSUMS_OF_WORDS)),
        (Part.SOURCE, lambda: _vectors(db, manifest)),
        (Part.ROWS, lambda: _sample(db, manifest)),
        (Part.ROWS, lambda: _attributes(db)),
    ]
    found: dict[str, Problem] = {}
    for part, check in checks:
        try:
            with translated(path):
                for text in check():
                    found.setdefault(text, Problem(part, text))
        except IndexCorrupt as error:
            found.setdefault(error.message, Problem(part, error.message))
        except (ValueError, TypeError, AttributeError):
            text = f"{path} contains values of the wrong type"
            found.setdefault(text, Problem(part, text))
    return list(found.values())


def foreign_tables(db: apsw.Connection) -> Iterator[str]:
    """Tables, triggers, views and columns that this program did not create, in an index of a readable format."""
    sql = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
    with closing(apsw.Connection(":memory:")) as made:
        made.execute(tables_of(read_format(db)))
        differing = set(rows(db, sql)) ^ set(rows(made, sql))
    yield from sorted({f"{name} is not a table or index of this program" for name, _ in differing})


def _pages(db: apsw.Connection) -> Iterator[str]:
    return (str(row) for row in rows(db, "PRAGMA integrity_check") if row != "ok")


def _counted(db: apsw.Connection, queries: dict[str, str]) -> Iterator[str]:
    for what, sql in queries.items():
        if count := rows(db, sql)[0]:
            yield f"{count} {what}"


def _checksums(db: apsw.Connection, kinds: dict[str, tuple[str, Any]]) -> Iterator[str]:
    for what, (sql, checksum) in kinds.items():
        found: Iterator[Any] = db.execute(sql)
        wrong = (row for row, stored, *values in found if not _agrees(checksum, row, stored, values))
        yield from (
            f"{what} {row} of the index is damaged: its checksum is wrong" for row in itertools.islice(wrong, _LISTED)
        )


def _agrees(checksum: Any, row: int, stored: int, values: list[Any]) -> bool:
    try:
        return bool(checksum(row, *values) == stored)
    except TypeError:  # a value of the wrong type
        return False


def _vectors(db: apsw.Connection, manifest: Manifest) -> Iterator[str]:
    dim = manifest.encoder.dim
    for key, blob in db.execute("SELECT key, embedding FROM vectors"):
        vector = np.frombuffer(blob, dtype="<f4") if isinstance(blob, bytes) and len(blob) % 4 == 0 else np.zeros(0)
        if vector.shape != (dim,) or not abs(float(np.linalg.norm(vector)) - 1) <= _UNIT:
            yield f"vector {str(key)[:12]} is not a unit vector of {dim} numbers"


def _sample(db: apsw.Connection, manifest: Manifest) -> Iterator[str]:
    """Compare the terms and vectors of a sample of passages with their texts."""
    step = max(1, rows(db, "SELECT count(*) FROM passages")[0] // _SAMPLE)
    sql = (
        "SELECT d.source, d.language, t.length, t.words, t.counts, v.key, p.* FROM passages p"
        " JOIN documents d ON d.rowid = p.document JOIN terms t ON t.passage = p.rowid"
        " LEFT JOIN vectors v ON v.rowid = p.vector WHERE p.rowid % ? = 0"
    )
    found: Iterator[Any] = db.execute(sql, (step,))
    for source, language, length, words, counts, key, *columns in found:
        row, _, _, _, title, _, _, _, text, _, edits = (*columns, "")[:11]
        passage = Passage("", "", title, text, 0, 0, edits=stored.passage_edits(edits))
        texts = keyword_texts(title, text, passage.edits)
        if terms.row(row, texts, source, language, manifest)[1:4] != (length, words, counts):
            yield f"the BM25 index has other words than passage {row}"
        if key is not None and key.partition(":")[0] != vector_key(encoded_text(passage), manifest.encoder):
            yield f"passage {row} has the vector of another text"


def _attributes(db: apsw.Connection) -> Iterator[str]:
    """Compare the filter attributes with each document's metadata."""
    documents: Iterator[Any] = db.execute("SELECT rowid, meta FROM documents ORDER BY rowid")
    sql = (
        "SELECT a.document, f.name, a.kind, a.value FROM attributes a JOIN fields f ON f.id = a.field"
        " WHERE a.document BETWEEN ? AND ?"
    )
    while batch := list(itertools.islice(documents, _DOCUMENTS_PER_BATCH)):
        with closing(apsw.Connection(":memory:")) as derived:
            derived.execute(TABLES)
            for row, meta in batch:
                with suppress(ValueError, TypeError):  # damaged JSON, which its checksum has reported
                    attributes.write(derived, row, json.loads(meta))
            between = (batch[0][0], batch[-1][0])
            differing = set(rows(db, sql, between)) ^ set(rows(derived, sql, between))
        yield from (f"a filter would not find document {row} by its {name}" for row, name in _places(differing))
    gone = rows(db, "SELECT count(*) FROM attributes WHERE document NOT IN (SELECT rowid FROM documents)")[0]
    if gone:
        yield f"{gone} attributes without a document"


def _places(differing: set[Any]) -> list[tuple[int, str]]:
    return sorted({(row, name) for row, name, _, _ in differing})[:_LISTED]


def _caches(db: apsw.Connection, folder: Path, path: Path) -> list[str]:
    sql = "SELECT file, sha256 FROM caches"
    try:
        with translated(path):
            found = {(name, sha256): caches.damage(folder / name, sha256) for name, sha256 in rows(db, sql)}
            return [found[known] for known in rows(db, sql) if found.get(known)]  # a writer may replace one meanwhile
    except IndexCorrupt:
        return []  # the table itself, which is reported already
