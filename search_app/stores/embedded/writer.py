"""The embedded store's one writer: documents, passages, vectors and BM25 terms of a change in one transaction."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from search_app.errors import ConfigurationError, IndexBusy
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.stores import text_analysis
from search_app.stores.embedded.connection import connect_writing, rows, translated
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.filters import field_kinds
from search_app.types import Document, Matrix, Passage

_SCHEMA = """
CREATE TABLE manifest (json TEXT NOT NULL, lineage TEXT NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE files (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, source TEXT NOT NULL, digest TEXT NOT NULL,
  size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, documents INTEGER NOT NULL);
CREATE TABLE documents (
  rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, file INTEGER NOT NULL REFERENCES files(id), title TEXT NOT NULL,
  source TEXT NOT NULL, language TEXT NOT NULL, meta TEXT NOT NULL, headings TEXT NOT NULL, pages TEXT NOT NULL,
  text TEXT NOT NULL);
CREATE INDEX documents_file ON documents(file);
CREATE INDEX documents_language ON documents(language);
CREATE TABLE vectors (rowid INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, embedding BLOB NOT NULL);
CREATE TABLE passages (
  rowid INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  document INTEGER NOT NULL REFERENCES documents(rowid), vector INTEGER NOT NULL REFERENCES vectors(rowid),
  title TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
  page INTEGER, text TEXT NOT NULL);
CREATE INDEX passages_document ON passages(document);
CREATE INDEX passages_vector ON passages(vector);
CREATE TABLE fields (name TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE terms USING fts5(title, body, content='', contentless_delete=1, tokenize='ascii');
"""
_KEYS_AT_ONCE = 500


class SqliteWriter:
    """Opens or creates a collection for writing; a second writer is refused with the first one's process id.

    `rebuild` writes a new index beside the old one, which goes on serving; `finish` puts the new one in its place.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, collection: str, rebuild: bool = False) -> None:
        self._manifest = manifest
        self._target = folder / INDEX_FILE
        self._path = folder / "rebuild.db" if rebuild else self._target
        self._rebuild = rebuild
        self._changed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder, collection)
        except PermissionError as error:
            raise ConfigurationError(f"{folder} cannot be written", hint="check the folder's permissions") from error
        try:
            self._db = self._open()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def files(self) -> Iterator[FileRecord]:
        sql = "SELECT path, source, digest, size, modified_ns, documents FROM files ORDER BY path"
        with translated(self._path):
            found = rows(self._db, sql)
        return (FileRecord(*row) for row in found)

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        with translated(self._path):
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                batch = rows(
                    self._db,
                    "SELECT key, embedding FROM vectors WHERE key IN (SELECT value FROM json_each(?))",
                    (json.dumps(keys[start : start + _KEYS_AT_ONCE]),),
                )
                found.update((key, np.frombuffer(blob, dtype="<f4")) for key, blob in batch)
        return found

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]:
        """All of it or, with an error, nothing: there is never a rejection."""
        if changes:
            with self._transaction() as db:
                for change in changes:
                    self._write_file(db, change)
        return []

    def remove_files(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        with self._transaction() as db:
            for path in paths:
                for file in rows(db, "SELECT id FROM files WHERE path = ?", (path,)):
                    _clear_file(db, file)
                    db.execute("DELETE FROM files WHERE id = ?", (file,))

    def finish(self) -> None:
        with translated(self._path):
            if self._changed:
                with self._db:
                    self._db.execute("DELETE FROM vectors WHERE rowid NOT IN (SELECT vector FROM passages)")
                    self._db.execute("INSERT INTO terms(terms) VALUES('optimize')")
                self._db.execute("PRAGMA optimize")
            if self._rebuild:
                self._publish()
            self._db.pragma("wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._db.close()
        self._lock.release()

    def _open(self) -> apsw.Connection:
        new = not self._path.exists()
        db = connect_writing(self._path)
        with translated(self._path):
            tables = rows(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'terms'")[0]
            if new or not tables:
                with db:
                    db.execute(_SCHEMA)
                    values = (self._manifest.to_json(), secrets.token_hex(8))
                    db.execute("INSERT INTO manifest VALUES (?, ?, 0)", values)
                return db
            stored = Manifest.from_json(rows(db, "SELECT json FROM manifest")[0])
        if self._rebuild and stored != self._manifest:
            db.close()  # left by an interrupted rebuild with other settings
            _delete(self._path)
            return self._open()
        try:
            stored.require(self._manifest)
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with translated(self._path), self._db:
            yield self._db
            self._db.execute("UPDATE manifest SET generation = generation + 1")
        self._changed = True

    def _write_file(self, db: apsw.Connection, change: FileChange) -> None:
        record = change.record
        known = rows(db, "SELECT id FROM files WHERE path = ?", (record.path,))
        if not known:
            db.execute(
                "INSERT INTO files (path, source, digest, size, modified_ns, documents) VALUES (?, ?, '', 0, 0, 0)",
                (record.path, record.source),
            )
            file = db.last_insert_rowid()
        else:
            file = known[0]
        # Vectors that the old passages share with the new ones stay: unused ones are dropped by finish().
        if change.first:
            _clear_file(db, file)
        db.execute(
            "UPDATE files SET source = ?, digest = ?, size = ?, modified_ns = ?, documents = ? WHERE id = ?",
            (
                record.source, record.digest if change.last else "", record.size,
                record.modified_ns if change.last else 0, record.documents, file,
            ),
        )  # fmt: skip
        numbers = {document.id: self._insert_document(db, file, document) for document in change.documents}
        languages = {document.id: document.language for document in change.documents}
        for passage, vector in zip(change.batch.passages, change.batch.embeddings, strict=True):
            if passage.document_id not in numbers:  # a document whose first passages came with an earlier part
                found = rows(db, "SELECT rowid, language FROM documents WHERE id = ?", (passage.document_id,))
                numbers[passage.document_id], languages[passage.document_id] = found[0]
            self._insert_passage(db, numbers[passage.document_id], languages[passage.document_id], passage, vector)

    def _insert_document(self, db: apsw.Connection, file: int, document: Document) -> int:
        headings = [[item.level, item.title, item.start, item.end] for item in document.headings]
        pages = [
            [page.number, page.start, page.end, [[run.start, run.raw_start, run.length] for run in page.runs]]
            for page in document.pages
        ]
        db.execute(
            "INSERT INTO documents (id, file, title, source, language, meta, headings, pages, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                document.id, file, document.title, document.source, document.language,
                json.dumps(dict(document.meta), ensure_ascii=False), json.dumps(headings), json.dumps(pages),
                document.text,
            ),
        )  # fmt: skip
        row = db.last_insert_rowid()
        db.executemany("INSERT OR IGNORE INTO fields VALUES (?, ?)", list(field_kinds(document.meta)))
        return row

    def _insert_passage(
        self, db: apsw.Connection, document: int, language: str, passage: Passage, vector: Matrix
    ) -> None:
        key = vector_key(encoded_text(passage), self._manifest.encoder)
        blob = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        db.execute("INSERT OR IGNORE INTO vectors (key, embedding) VALUES (?, ?)", (key, blob))
        db.execute(
            "INSERT INTO passages (id, document, vector, title, start, end, page, text)"
            " VALUES (?, ?, (SELECT rowid FROM vectors WHERE key = ?), ?, ?, ?, ?, ?)",
            (passage.id, document, key, passage.title, passage.start, passage.end, passage.page, passage.text),
        )
        row = db.last_insert_rowid()
        analysis = language if self._manifest.analysis == "auto" else self._manifest.analysis
        title, body = (" ".join(text_analysis.words(text, analysis)) for text in (passage.title, passage.text))
        db.execute("INSERT INTO terms (rowid, title, body) VALUES (?, ?, ?)", (row, title, body))

    def _publish(self) -> None:
        """The new index becomes the content of the served file, in one transaction that readers step over."""
        served = connect_writing(self._target)
        try:
            with translated(self._target):
                exists = rows(served, "SELECT count(*) FROM sqlite_schema WHERE name = 'manifest'")[0]
                if exists:
                    generation = rows(served, "SELECT generation FROM manifest")[0]
                    with self._db:
                        self._db.execute("UPDATE manifest SET generation = max(generation, ?)", (generation + 1,))
                with served.backup("main", self._db, "main") as backup:
                    while not backup.done:
                        backup.step(-1)
                served.pragma("wal_checkpoint(TRUNCATE)")
        finally:
            served.close()
        self._db.close()
        _delete(self._path)
        self._db = connect_writing(self._target)


def _clear_file(db: apsw.Connection, file: int) -> None:
    passages = "SELECT p.rowid FROM passages p JOIN documents d ON d.rowid = p.document WHERE d.file = ?"
    db.execute(f"DELETE FROM terms WHERE rowid IN ({passages})", (file,))
    db.execute(f"DELETE FROM passages WHERE rowid IN ({passages})", (file,))
    db.execute("DELETE FROM documents WHERE file = ?", (file,))


def _lock(folder: Path, collection: str) -> FileLock:
    lock = FileLock(folder / "writer.lock")
    owner = folder / "writer.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        pid = owner.read_text().strip() if owner.exists() else "unknown"
        raise IndexBusy(
            f"another job (process {pid}) is writing to collection '{collection}'", hint="wait until it ends"
        ) from error
    owner.write_text(str(os.getpid()))
    return lock


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
