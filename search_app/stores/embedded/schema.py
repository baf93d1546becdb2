"""Tables of an index file, format 3.

Row numbers of passages ascend and are never reused: a reader updates itself by adding the rows beyond its newest one
and removing those that `removed` lists since its generation.

`checksum` is a CRC-32 of the row (checksums.py). A document's large columns have their own `text_checksum`, so that a
hit is checked without reading the whole document. SQLite's page checksums detect changed bits, but not zeroed pages.

Format 2 lacks the columns of `ADDED`, which come last in their tables: `SELECT *` reads both formats.
"""

from __future__ import annotations

INDEX_FILE = "index.db"
REBUILD_FILE = "rebuild.db"
RESTORE_FILE = "restore.db"
SET_ASIDE_FILE = "set-aside.db"
"""A copy of the served index while another one replaces it; it becomes PREVIOUS_FILE."""
PREVIOUS_FILE = "previous.db"
"""The index before the last rebuild or restore, for `rollback`."""

FILE_COLUMNS = "path, source, digest, size, modified_ns, documents"
FILES_AFTER = f"SELECT {FILE_COLUMNS} FROM files WHERE path > ? ORDER BY path LIMIT 1000"
"""A page of FileRecords: all of them may not fit in memory."""

_FORMAT_2 = """
CREATE TABLE manifest (
  json TEXT NOT NULL, lineage TEXT NOT NULL, generation INTEGER NOT NULL, removals_since INTEGER NOT NULL);
CREATE TABLE files (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, source TEXT NOT NULL, digest TEXT NOT NULL,
  size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, documents INTEGER NOT NULL);
CREATE TABLE documents (
  rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, file INTEGER NOT NULL REFERENCES files(id), title TEXT NOT NULL,
  source TEXT NOT NULL, language TEXT NOT NULL, meta TEXT NOT NULL, headings TEXT NOT NULL, pages TEXT NOT NULL,
  text TEXT NOT NULL, checksum INTEGER NOT NULL, text_checksum INTEGER NOT NULL);
CREATE INDEX documents_file ON documents(file);
CREATE INDEX documents_language ON documents(language);
CREATE INDEX documents_source ON documents(source);
CREATE TABLE vectors (
  rowid INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, embedding BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE passages (
  rowid INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  document INTEGER NOT NULL REFERENCES documents(rowid), vector INTEGER REFERENCES vectors(rowid),
  title TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER, text TEXT NOT NULL,
  checksum INTEGER NOT NULL);
CREATE INDEX passages_document ON passages(document);
CREATE INDEX passages_vector ON passages(vector);
CREATE TABLE terms (
  passage INTEGER PRIMARY KEY, length INTEGER NOT NULL, words BLOB NOT NULL, counts BLOB NOT NULL,
  checksum INTEGER NOT NULL);
CREATE TABLE attributes (
  field INTEGER NOT NULL REFERENCES fields(id), kind INTEGER NOT NULL, value NOT NULL, document INTEGER NOT NULL,
  PRIMARY KEY (field, kind, value, document)) WITHOUT ROWID;
CREATE INDEX attributes_document ON attributes(document);
CREATE TABLE fields (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL);
CREATE TABLE removed (passage INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE INDEX removed_generation ON removed(generation);
CREATE TABLE caches (
  kind TEXT PRIMARY KEY, file TEXT NOT NULL, generation INTEGER NOT NULL, newest INTEGER NOT NULL,
  sha256 TEXT NOT NULL, bytes INTEGER NOT NULL);
"""
ADDED = """
ALTER TABLE documents ADD COLUMN tables TEXT NOT NULL DEFAULT '';
ALTER TABLE passages ADD COLUMN edits TEXT NOT NULL DEFAULT '';
"""
"""JSON, "" for nothing, which is then left out of the checksum: rows of format 2 stay as they are."""
TABLES = _FORMAT_2 + ADDED
"""`terms`: a passage's words (keyword_texts) for BM25; `words` are ascending uint64 hashes, `counts` uint16, `length`
counts all words. `removals_since`: `removed` is complete for readers at this generation or a later one. `caches`: files
beside the index with arrays derived, at `generation`, from the passages up to row `newest`.
"""


def tables_of(format: int) -> str:
    """The tables of an index of format 2 or 3."""
    return TABLES if format >= 3 else _FORMAT_2
