"""Write an embedded index: each call is one transaction over documents, passages, vectors, terms and attributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexCorrupt, SearchAppError
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.protocols import FileChange, FileRecord, Rejection
from search_app.settings import VectorSettings
from search_app.stores.embedded import (
    attributes,
    caches,
    checksums,
    generation,
    maintenance,
    publish,
    scan,
    terms,
    upgrade,
)
from search_app.stores.embedded.connection import connect_writing, rows, translated
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.lock import WriterLock
from search_app.stores.embedded.schema import FILES_AFTER, INDEX_FILE, REBUILD_FILE, TABLES
from search_app.stores.embedded.state import holds_index, last_commit, read_manifest
from search_app.text import outline
from search_app.text.reading import keyword_texts
from search_app.types import Document, Matrix, Passage

_KEYS_PER_QUERY = 500


class SqliteWriter:
    """Opens or creates a collection for writing. Raises IndexBusy with the process id of another writer.

    With `rebuild`, a new index is written beside the served one, which `finish` replaces.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        collection: str,
        rebuild: bool = False,
        settings: VectorSettings | None = None,
        files: Files | None = None,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._settings = settings or VectorSettings()
        self._files = files or Files()
        self._path = folder / (REBUILD_FILE if rebuild else INDEX_FILE)
        self._rebuild = rebuild
        self._changed = False
        self._lock = WriterLock(self._files, folder, collection)
        try:
            self._files.clear(folder)
            publish.recover(self._files, folder)
            self._db = self._open()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def files(self) -> Iterator[FileRecord]:
        def page(after: str) -> list[Any]:
            with translated(self._path):
                return rows(self._db, FILES_AFTER, (after,))

        return scan.files(page)

    def known_vectors(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        with translated(self._path):
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                batch = rows(
                    self._db,
                    "SELECT rowid, key, embedding, checksum FROM vectors WHERE key IN (SELECT value FROM json_each(?))",
                    (json.dumps(keys[start : start + _KEYS_PER_QUERY]),),
                )
                for row, key, blob, checksum in batch:
                    checksums.require("vector", row, checksum, checksums.of_vector(row, blob))
                    found[key] = np.frombuffer(blob, dtype="<f4")
        return found

    def write(self, changes: Sequence[FileChange]) -> list[Rejection]:
        """Writes everything or raises; rejects nothing."""
        if changes:
            with self._transaction() as commit:
                pending = _Rows(self._db, self._manifest)
                for change in changes:
                    self._write_file(pending, change, commit)
                pending.insert()
        return []

    def remove_files(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        with self._transaction() as commit:
            for path in paths:
                for file in rows(self._db, "SELECT id FROM files WHERE path = ?", (path,)):
                    _clear_file(self._db, file, commit)
                    self._db.execute("DELETE FROM files WHERE id = ?", (file,))

    def remove_documents(self, ids: Sequence[str]) -> int:
        sql = "SELECT rowid, file FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        with translated(self._path):
            found = rows(self._db, sql, (json.dumps(list(ids)),))
        if found:
            with self._transaction() as commit:
                _remove(self._db, [row for row, _ in found], commit)
                fewer = "UPDATE files SET documents = documents - 1 WHERE id = ?"
                self._db.executemany(fewer, [(file,) for _, file in found])
        return len(found)

    def finish(self) -> tuple[int, ...]:
        with translated(self._path):
            if self._changed:
                with self._db:
                    self._db.execute(
                        "DELETE FROM vectors WHERE rowid NOT IN (SELECT vector FROM passages WHERE vector IS NOT NULL)"
                    )
                self._db.execute("PRAGMA optimize")
            maintenance.refresh(self._db, self._folder, self._files, self._settings)
            publish.checkpoint(self._db)
        if self._rebuild:
            self._db.close()
            publish.publish(self._files, self._folder, self._path)
            self._path = self._folder / INDEX_FILE
            self._rebuild = False
            self._db = connect_writing(self._path)
        return ()

    def close(self) -> None:
        self._db.close()
        self._lock.release()

    def _open(self) -> apsw.Connection:
        existed = self._path.exists()
        recorded = None if self._rebuild else generation.read(self._folder)
        db = connect_writing(self._path)
        try:
            with translated(self._path):
                if not holds_index(db):
                    if not self._rebuild:
                        if existed and recorded:
                            raise IndexCorrupt(f"{self._path} no longer contains an index")
                        # of an index file that somebody deleted
                        self._files.remove(self._folder / generation.GENERATION_FILE)
                    with db:
                        db.execute(TABLES)
                        first = recorded.generation + 1 if recorded else 0
                        values = (self._manifest.to_json(), publish.new_lineage(), first, first)
                        db.execute("INSERT INTO manifest VALUES (?, ?, ?, ?)", values)
                    self._record(db)
                    return db
                if not self._rebuild:
                    generation.require(recorded, self._folder, *last_commit(db))
                    held = read_manifest(db, oldest=upgrade.OLDEST)
                    held.require(self._manifest)
                    self._manifest = self._manifest.with_words_of(held)
                    if upgrade.upgrade(db):
                        self._record(db)
                    caches.remove_orphans(self._files, db, self._folder)
                    return db
                if rows(db, "SELECT json FROM manifest")[0] == self._manifest.to_json():
                    return db
            db.close()  # left by a rebuild with other settings
            publish.delete(self._files, self._path)
            return self._open()
        except BaseException:
            db.close()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        """A transaction; yields the generation that it creates."""
        try:
            with translated(self._path), self._db:
                sql = "UPDATE manifest SET generation = generation + 1 RETURNING generation"
                yield int(rows(self._db, sql)[0])
        except apsw.ConstraintError as error:
            raise SearchAppError(
                f"nothing was written to {self._path}: {error}", hint="give every document and passage its own id"
            ) from error
        self._changed = True
        self._record(self._db)

    def _record(self, db: apsw.Connection) -> None:
        if not self._rebuild:
            generation.record(self._files, self._folder, *last_commit(db))

    def _write_file(self, pending: _Rows, change: FileChange, commit: int) -> None:
        record, db = change.record, self._db
        known = rows(db, "SELECT id FROM files WHERE path = ?", (record.path,))
        if not known:
            db.execute(
                "INSERT INTO files (path, source, digest, size, modified_ns, documents) VALUES (?, ?, '', 0, 0, 0)",
                (record.path, record.source),
            )
            file = db.last_insert_rowid()
        else:
            file = known[0]
        # Vectors stay, since the new passages may share them; finish() deletes the unused ones.
        if change.first and known:
            pending.insert()
            _clear_file(db, file, commit)
        db.execute(
            "UPDATE files SET source = ?, digest = ?, size = ?, modified_ns = ?, documents = ? WHERE id = ?",
            (
                record.source, record.digest if change.last else "", record.size,
                record.modified_ns if change.last else 0, record.documents, file,
            ),
        )  # fmt: skip
        for document in change.documents:
            pending.add_document(file, document)
        for passage, vector in zip(change.batch.passages, change.batch.embeddings, strict=True):
            pending.add_passage(passage, vector)


class _Rows:
    """Buffers the rows of one transaction, assigns their numbers, and inserts them table by table."""

    def __init__(self, db: apsw.Connection, manifest: Manifest) -> None:
        self._db = db
        self._manifest = manifest
        self._next_document = _next(db, "SELECT max(rowid) FROM documents")
        self._next_vector = _next(db, "SELECT max(rowid) FROM vectors")
        self._next_passage = _next(db, "SELECT seq FROM sqlite_sequence WHERE name = 'passages'")
        self._known: dict[str, tuple[int, str, str]] = {}
        """Row, source and language of each document, by id."""
        self._documents: list[tuple[Any, ...]] = []
        self._metas: list[tuple[int, Document]] = []
        self._passages: list[tuple[tuple[int, str, str], Passage, Matrix]] = []

    def add_document(self, file: int, document: Document) -> None:
        row = self._next_document
        self._next_document += 1
        self._known[document.id] = (row, document.source, document.language)
        headings, pages, tables = outline.to_lists(document)
        meta = json.dumps(dict(document.meta), ensure_ascii=False)
        small = (document.id, file, document.title, document.source, document.language, meta)
        large = (json.dumps(headings), json.dumps(pages), document.text)
        added = json.dumps(tables, ensure_ascii=False, separators=(",", ":")) if tables else ""
        sums = (checksums.of_document(row, *small), checksums.of_text(row, *large, added))
        self._documents.append((row, *small, *large, *sums, added))
        self._metas.append((row, document))

    def add_passage(self, passage: Passage, vector: Matrix) -> None:
        """`vector` is all NaN for a passage without one."""
        if passage.document_id not in self._known:  # the document came with an earlier part of the file
            sql = "SELECT rowid, source, language FROM documents WHERE id = ?"
            self._known[passage.document_id] = rows(self._db, sql, (passage.document_id,))[0]
        self._passages.append((self._known[passage.document_id], passage, vector))

    def insert(self) -> None:
        if self._documents:
            self._db.executemany(
                "INSERT INTO documents (rowid, id, file, title, source, language, meta, headings, pages, text,"
                " checksum, text_checksum, tables) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._documents,
            )
            for row, document in self._metas:
                attributes.write(self._db, row, document.meta)
            self._documents, self._metas = [], []
        if self._passages:
            vectors = self._insert_vectors()
            passages, words = [], []
            for ((owner, source, language), passage, _), vector in zip(self._passages, vectors, strict=True):
                row = self._next_passage
                self._next_passage += 1
                values = (
                    row, passage.id, owner, vector, passage.title, passage.start, passage.end, passage.page,
                    passage.text,
                )  # fmt: skip
                edits = _edits(passage)
                passages.append((*values, checksums.of_passage(*values, edits), edits))
                texts = keyword_texts(passage.title, passage.text, passage.edits)
                words.append(terms.row(row, texts, source, language, self._manifest))
            self._db.executemany(
                "INSERT INTO passages (rowid, id, document, vector, title, start, end, page, text, checksum,"
                " edits) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                passages,
            )
            self._db.executemany(terms.INSERT, words)
            self._passages = []

    def _insert_vectors(self) -> list[int | None]:
        """The row of each passage's vector; passages with equal text and vector share one."""
        blobs = [
            b"" if np.isnan(vector).all() else np.ascontiguousarray(vector, dtype="<f4").tobytes()
            for *_, vector in self._passages
        ]
        keys = self._vector_keys(blobs)
        found = self._vectors("key, rowid", keys)
        new = []
        for key, blob in zip(keys, blobs, strict=True):
            if key and key not in found:
                row = found[key] = self._next_vector
                self._next_vector += 1
                new.append((row, key, blob, checksums.of_vector(row, blob)))
        self._db.executemany("INSERT INTO vectors (rowid, key, embedding, checksum) VALUES (?, ?, ?, ?)", new)
        return [found[key] if key else None for key in keys]

    def _vector_keys(self, blobs: Sequence[bytes]) -> list[str]:
        """Empty without a vector. Equal texts may have different vectors, from an embedder that used more context."""
        keys = [
            vector_key(encoded_text(passage), self._manifest.encoder) if blob else ""
            for (_, passage, _), blob in zip(self._passages, blobs, strict=True)
        ]
        known: dict[str, bytes] = self._vectors("key, embedding", keys)
        return [
            key if known.setdefault(key, blob) == blob else f"{key}:{hashlib.sha256(blob).hexdigest()}"
            for key, blob in zip(keys, blobs, strict=True)
        ]

    def _vectors(self, columns: str, keys: Sequence[str]) -> dict[str, Any]:
        sql = f"SELECT {columns} FROM vectors WHERE key IN (SELECT value FROM json_each(?))"
        return dict(rows(self._db, sql, (json.dumps(keys),)))


def _edits(passage: Passage) -> str:
    edits = outline.edits_to_list(passage.edits)
    return json.dumps(edits, ensure_ascii=False, separators=(",", ":")) if edits else ""


def _clear_file(db: apsw.Connection, file: int, commit: int) -> None:
    _remove(db, rows(db, "SELECT rowid FROM documents WHERE file = ?", (file,)), commit)


def _remove(db: apsw.Connection, documents: Sequence[int], commit: int) -> None:
    """Delete documents and all that belongs to them; `commit` is the generation of this transaction."""
    numbers = json.dumps(list(documents))
    passages = "SELECT rowid FROM passages WHERE document IN (SELECT value FROM json_each(?))"
    db.execute(f"INSERT INTO removed SELECT rowid, ? FROM ({passages})", (commit, numbers))
    db.execute(f"DELETE FROM terms WHERE passage IN ({passages})", (numbers,))
    db.execute("DELETE FROM passages WHERE document IN (SELECT value FROM json_each(?))", (numbers,))
    attributes.remove(db, np.array(documents, dtype=np.int64))
    db.execute("DELETE FROM documents WHERE rowid IN (SELECT value FROM json_each(?))", (numbers,))


def _next(db: apsw.Connection, sql: str) -> int:
    found = rows(db, sql)
    return int(found[0] or 0) + 1 if found else 1
