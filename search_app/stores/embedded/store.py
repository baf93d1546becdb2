"""The embedded store, for reading: SQLite is the truth, FAISS holds its vectors in memory."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexBusy, IndexNotFound
from search_app.manifest import Manifest
from search_app.protocols import FileRecord
from search_app.stores import filters, text_analysis
from search_app.stores.embedded import scan
from search_app.stores.embedded.connection import Reader, rows
from search_app.stores.embedded.schema import INDEX_FILE
from search_app.stores.vectors.faiss import VectorIndex
from search_app.types import Document, Filter, Heading, Hit, Matrix, Page, Passage, PassageBatch, Rankings, Run

_LOAD_ROWS = 10_000
_MAX_TERMS = 1_000
Scored = list[tuple[int, float]]
"""Row numbers of passages and their scores, best first."""


class SqliteStore:
    """One collection, open for reading from any number of threads, each with its own connection.

    Every call answers from one generation: the one committed when the call began. FAISS follows the commits of a
    writer in another process by the difference, without a restart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[Reader] = []
        self._index: VectorIndex | None = None
        self._state = ("", -1)
        self._newest = 0
        with self._reading() as db:
            self.manifest = Manifest.from_json(rows(db, "SELECT json FROM manifest")[0])

    @classmethod
    def open(cls, folder: Path, *, collection: str) -> SqliteStore:
        """Raises IndexNotFound, IndexMismatch (another format) or IndexCorrupt."""
        path = folder / INDEX_FILE
        if not path.exists():
            raise IndexNotFound(collection)
        try:
            return cls(path)
        except apsw.SQLError as error:  # its first job has only just begun
            raise IndexNotFound(collection) from error

    def is_degraded(self) -> bool:
        _ = self.generation  # where a file that was damaged or taken away shows
        return False

    @property
    def generation(self) -> int:
        with self._reading() as db:
            return _int(db, "SELECT generation FROM manifest")

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        with self._reading() as db:
            found, _ = self._dense(db, vectors, k, where)
            return _hits(db, dense=found)[0]

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        with self._reading() as db:
            return _hits(db, bm25=self._keyword(db, questions, k, where))[0]

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        with self._reading() as db:
            found, generation = self._dense(db, vectors, k, where)
            dense, keyword = _hits(db, dense=found, bm25=self._keyword(db, questions, k, where))
        return [Rankings(*both, generation) for both in zip(dense, keyword, strict=True)]

    def document(self, document_id: str) -> Document | None:
        with self._reading() as db:
            sql = "SELECT id, title, text, source, meta, language, headings, pages FROM documents WHERE id = ?"
            found = rows(db, sql, (document_id,))
        if not found:
            return None
        id, title, text, source, meta, language, raw_headings, raw_pages = found[0]
        headings = tuple(Heading(*values) for values in json.loads(raw_headings))
        pages = tuple(
            Page(number, start, end, tuple(Run(*run) for run in runs))
            for number, start, end, runs in json.loads(raw_pages)
        )
        return Document(id, title, text, source, json.loads(meta), language, headings, pages)

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        with self._reading() as db:
            found = rows(
                db,
                "SELECT id, title, source, meta, language FROM documents ORDER BY source, rowid LIMIT ? OFFSET ?",
                (limit, offset),
            )
        return [
            Document(id, title, "", source, json.loads(meta), language) for id, title, source, meta, language in found
        ]

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        return scan.passages(self._path, self.manifest.encoder.dim, where, ids=ids, vectors=vectors)

    def files(self) -> Iterator[FileRecord]:
        """In order of path; `digest` is empty where a job ended half-way through the file."""
        with self._reading() as db:
            found = rows(db, f"SELECT {_FILE_COLUMNS} FROM files ORDER BY path")
        return (FileRecord(*row) for row in found)

    def file_of(self, document_id: str) -> FileRecord | None:
        with self._reading() as db:
            sql = f"SELECT {_FILE_COLUMNS} FROM files WHERE id = (SELECT file FROM documents WHERE id = ?)"
            found = rows(db, sql, (document_id,))
        return FileRecord(*found[0]) if found else None

    def fields(self) -> dict[str, str]:
        """Names of the metadata fields and their JSON kind."""
        with self._reading() as db:
            return dict(rows(db, "SELECT name, kind FROM fields ORDER BY name"))

    def counts(self) -> Mapping[str, int]:
        with self._reading() as db:
            return {name: _int(db, f"SELECT count(*) FROM {name}") for name in _COUNTED}

    def close(self) -> None:
        readers, self._readers, self._local = self._readers, [], threading.local()
        for reader in readers:
            reader.close()

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """A connection inside one read transaction."""
        try:
            with self._reader().transaction() as db:
                yield db
        except IndexBusy:
            # What a killed writer left can be taken up by nobody as long as one of them is open.
            for reader in list(self._readers):
                reader.close_if_idle()
            raise

    def _reader(self) -> Reader:
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = Reader(self._path)
            self._readers.append(reader)
        return reader

    def _dense(self, db: apsw.Connection, vectors: Matrix, k: int, where: Filter | None) -> tuple[list[Scored], int]:
        with self._lock:
            # The first SELECT fixes what this transaction sees; under the lock, FAISS can never be ahead of it.
            lineage, generation = rows(db, "SELECT lineage, generation FROM manifest")[0]
            try:
                index = self._follow(db, str(lineage), int(generation))
                self._reader().require_unchanged()
            except BaseException:
                self._index = None
                raise
            allowed = None if where is None else _allowed(db, filters.check(where, _fields(db)))
            scores, ids = index.search(vectors, k, allowed)
        return [list(zip(*row, strict=True)) for row in zip(ids.tolist(), scores.tolist(), strict=True)], int(
            generation
        )

    def _follow(self, db: apsw.Connection, lineage: str, generation: int) -> VectorIndex:
        """FAISS at this generation: rows are never re-used, so new ones are those beyond the newest it knows."""
        if self._index is None or lineage != self._state[0]:
            self._require_same_encoder(db)
            self._index, self._newest, self._state = VectorIndex(self.manifest.encoder.dim), 0, (lineage, -1)
        if generation != self._state[1]:
            if self._index.ids:
                present = set(rows(db, "SELECT rowid FROM passages"))
                self._index.remove(self._index.ids - present)
            new = db.execute(
                "SELECT p.rowid, v.embedding FROM passages p JOIN vectors v ON v.rowid = p.vector"
                " WHERE p.rowid > ? ORDER BY p.rowid",
                (self._newest,),
            )
            while batch := list(itertools.islice(new, _LOAD_ROWS)):
                ids = np.array([row[0] for row in batch], dtype=np.int64)
                vectors = np.frombuffer(b"".join(row[1] for row in batch), dtype="<f4").reshape(len(batch), -1)
                self._index.add(ids, vectors)
                self._newest = int(ids[-1])
            self._state = (lineage, generation)
        return self._index

    def _require_same_encoder(self, db: apsw.Connection) -> None:
        """A rebuild in another process may have changed what the vectors mean."""
        current = Manifest.from_json(rows(db, "SELECT json FROM manifest")[0])
        current.require_encoder(self.manifest.encoder)
        self.manifest = current

    def _keyword(self, db: apsw.Connection, questions: Sequence[str], k: int, where: Filter | None) -> list[Scored]:
        condition = ""
        parameters: list[str | int | float] = []
        if where is not None:
            sql, parameters = filters.to_sql(filters.check(where, _fields(db)), "d.meta")
            condition = f" AND rowid IN (SELECT p.rowid {_JOINED} WHERE {sql})"
        languages = rows(db, _LANGUAGES)
        if self.manifest.analysis != "auto":
            languages = [self.manifest.analysis]
        sql = f"SELECT rowid, -rank FROM terms WHERE terms MATCH ?{condition} ORDER BY rank, rowid LIMIT ?"
        matches = [_match(question, languages) for question in questions]
        return [rows(db, sql, (match, *parameters, k)) if match else [] for match in matches]


_FILE_COLUMNS = "path, source, digest, size, modified_ns, documents"
_COUNTED = ("files", "documents", "passages", "vectors")
_LANGUAGES = """WITH RECURSIVE l(code) AS (
  SELECT min(language) FROM documents UNION ALL
  SELECT (SELECT min(language) FROM documents WHERE language > code) FROM l WHERE code IS NOT NULL
) SELECT code FROM l WHERE code IS NOT NULL"""
"""Jumps through the index from one language to the next, where SELECT DISTINCT would read all of it."""
_JOINED = "FROM passages p JOIN documents d ON d.rowid = p.document"


def _hits(db: apsw.Connection, **found: list[Scored]) -> list[list[list[Hit]]]:
    """Hits of each retriever, for each question; a passage that several found is read once."""
    passages = _passages(db, sorted({id for rankings in found.values() for ranking in rankings for id, _ in ranking}))
    return [
        [[Hit(passages[id], score, {name: score}) for id, score in ranking] for ranking in rankings]
        for name, rankings in found.items()
    ]


def _match(question: str, languages: Sequence[str]) -> str:
    """An FTS5 expression that finds any of the question's words; quoted, so no word is read as syntax."""
    found = dict.fromkeys(
        word for language in text_analysis.analyses(languages) for word in text_analysis.words(question, language)
    )
    return " OR ".join('"' + word.replace('"', '""') + '"' for word in itertools.islice(found, _MAX_TERMS))


def _allowed(db: apsw.Connection, where: Filter) -> NDArray[np.int64]:
    sql, parameters = filters.to_sql(where, "d.meta")
    return np.array(rows(db, f"SELECT p.rowid {_JOINED} WHERE {sql}", parameters), dtype=np.int64)


def _fields(db: apsw.Connection) -> list[str] | None:
    """None while there is no document: then no field can be wrong."""
    return rows(db, "SELECT name FROM fields") or None


def _passages(db: apsw.Connection, ids: Sequence[int]) -> dict[int, Passage]:
    sql = (
        f"SELECT p.rowid, p.id, d.id, p.title, p.text, p.start, p.end, p.page, d.source, d.meta {_JOINED}"
        " WHERE p.rowid IN (SELECT value FROM json_each(?))"
    )
    found = rows(db, sql, (json.dumps(ids),))
    return {row[0]: _passage(row) for row in found}


def _passage(row: Sequence[Any]) -> Passage:
    _, id, document_id, title, text, start, end, page, source, meta = row
    return Passage(id, document_id, title, text, start, end, page, source, json.loads(meta))


def _int(db: apsw.Connection, sql: str) -> int:
    return int(rows(db, sql)[0])
