"""Upgrade an index in place, in one transaction.

Format 1 had an FTS5 table and no row checksums: its tables are written again. Format 2 gets new, empty columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import apsw

from search_app.manifest import FORMAT, Manifest
from search_app.stores.embedded import attributes, checksums, terms
from search_app.stores.embedded.schema import ADDED, TABLES
from search_app.stores.embedded.state import read_format, read_manifest
from search_app.stores.embedded.stored import passage_edits
from search_app.text.compounds import RULES
from search_app.text.reading import keyword_texts

OLDEST = 1
_MOVED = ("manifest", "files", "documents", "vectors", "passages", "fields")
_INDEXES = ("documents_file", "documents_language", "passages_document", "passages_vector")


def upgrade(db: apsw.Connection) -> bool:
    """Returns whether anything was changed. Raises IndexMismatch for an unknown format."""
    manifest = read_manifest(db, oldest=OLDEST)
    found = read_format(db)
    if found == 1:
        _upgrade_1(db, manifest)
    elif found == 2:
        with db:
            db.execute(ADDED)
            db.execute("UPDATE manifest SET json = ?", (manifest.to_json(),))
    return found != FORMAT


def _upgrade_1(db: apsw.Connection, manifest: Manifest) -> None:
    for name, function in _FUNCTIONS.items():
        db.create_scalar_function(name, function, deterministic=True)
    db.pragma("foreign_keys", False)
    db.pragma("legacy_alter_table", True)  # otherwise references to the tables would be renamed too
    try:
        with db:
            _rewrite(db, manifest)
    finally:
        db.pragma("legacy_alter_table", False)
        db.pragma("foreign_keys", True)
        for name in _FUNCTIONS:
            db.create_scalar_function(name, None)


def _rewrite(db: apsw.Connection, manifest: Manifest) -> None:
    db.execute("DROP TABLE terms")
    for index in _INDEXES:
        db.execute(f"DROP INDEX IF EXISTS {index}")
    for table in _MOVED:
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    db.execute(TABLES)
    # Readers of an earlier generation must reload everything.
    db.execute(
        "INSERT INTO manifest SELECT ?, lineage, generation + 1, generation + 1 FROM old_manifest",
        (manifest.to_json(),),
    )
    db.execute("INSERT INTO files SELECT * FROM old_files")
    small, large = "id, file, title, source, language, meta", "headings, pages, text"
    db.execute(
        f"INSERT INTO documents SELECT rowid, {small}, {large}, of_document(rowid, {small}), of_text(rowid, {large}),"
        " '' FROM old_documents"
    )
    db.execute("INSERT INTO vectors SELECT rowid, key, embedding, of_vector(rowid, embedding) FROM old_vectors")
    columns = "rowid, id, document, vector, title, start, end, page, text"
    db.execute(f"INSERT INTO passages SELECT {columns}, of_passage({columns}), '' FROM old_passages")
    db.execute(
        "UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence"
        " WHERE name IN ('passages', 'old_passages')) WHERE name = 'passages'"
    )
    derive(db, manifest)
    for table in reversed(_MOVED):
        db.execute(f"DROP TABLE old_{table}")


def rewrite_words(db: apsw.Connection) -> None:
    """Replace the words of an index that has older rules for them. Readers reload everything."""
    manifest = read_manifest(db)
    if manifest.words == RULES:
        return
    now = replace(manifest, words=RULES)
    with db:
        db.execute("DELETE FROM terms")
        db.executemany(terms.INSERT, _terms(db, now))
        sql = "UPDATE manifest SET json = ?, generation = generation + 1, removals_since = generation + 1"
        db.execute(sql, (now.to_json(),))


def derive(db: apsw.Connection, manifest: Manifest) -> None:
    """Fill the empty tables `terms`, `attributes` and `fields` from the documents and passages."""
    db.executemany(terms.INSERT, _terms(db, manifest))
    for row, meta in db.execute("SELECT rowid, meta FROM documents"):
        attributes.write(db, int(str(row)), json.loads(str(meta)))


def _terms(db: apsw.Connection, manifest: Manifest) -> Iterator[tuple[int, int, bytes, bytes, int]]:
    sql = (
        "SELECT p.rowid, p.title, p.text, p.edits, d.source, d.language FROM passages p"
        " JOIN documents d ON d.rowid = p.document ORDER BY p.rowid"
    )
    found: Iterator[Any] = db.execute(sql)
    for row, title, text, edits, source, language in found:
        yield terms.row(row, keyword_texts(title, text, passage_edits(edits)), source, language, manifest)


_FUNCTIONS: dict[str, Any] = {
    "of_document": checksums.of_document,
    "of_text": checksums.of_text,
    "of_passage": checksums.of_passage,
    "of_vector": checksums.of_vector,
}
