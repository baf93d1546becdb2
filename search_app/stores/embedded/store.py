"""Read an embedded index: SQLite holds all data, vectors and postings are derived from it in memory."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexBusy, IndexCorrupt, IndexNotFound, IndexUnavailable
from search_app.manifest import Manifest
from search_app.protocols import FileRecord
from search_app.settings import KeywordSettings, VectorSettings
from search_app.stores import filters
from search_app.stores.embedded import generation, maintenance, scan, stored
from search_app.stores.embedded.connection import Reader, Readers, rows
from search_app.stores.embedded.derived import Derived, IndexReplaced, exact_vectors
from search_app.stores.embedded.postings import Postings
from search_app.stores.embedded.schema import FILE_COLUMNS, FILES_AFTER, INDEX_FILE
from search_app.stores.embedded.state import Commit, read_manifest
from search_app.stores.vectors.index import Rows
from search_app.text import analysis
from search_app.types import Document, Filter, Hit, Matrix, Passage, PassageBatch, Rankings

_MAX_TERMS = 1_000
_ATTEMPTS = 3
Scored = list[tuple[int, float]]
"""Row numbers and scores of passages, best first."""


class SqliteStore:
    """One collection, open for reading from any number of threads; each call uses its own connection.

    Each call sees the generation that was committed when it began. Commits of a writer in another process are followed
    incrementally, without a restart.
    """

    def __init__(self, path: Path, settings: VectorSettings, keyword: KeywordSettings) -> None:
        self._path = path
        self._settings = settings
        self._readers = Readers(path)
        self._lock = threading.Lock()
        self._derived = Derived(path.parent, settings, keyword)
        try:
            self._current, self._commit = self._read_state()
        except BaseException:
            self.close()
            raise
        self.manifest = self._current

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        collection: str,
        settings: VectorSettings | None = None,
        keyword: KeywordSettings | None = None,
    ) -> SqliteStore:
        """Raises IndexNotFound, IndexMismatch (another format) or IndexCorrupt."""
        path = folder / INDEX_FILE
        try:
            if not path.exists():
                raise IndexNotFound(collection)
            return cls(path, settings or VectorSettings(), keyword or KeywordSettings())
        except apsw.SQLError as error:  # its first job has just begun
            raise IndexNotFound(collection) from error
        except PermissionError as error:
            raise IndexUnavailable(f"{path} cannot be read", hint="check the folder's permissions") from error

    def is_degraded(self) -> bool:
        _ = self.generation  # raises for a damaged or deleted file
        return self._is_degraded()

    @property
    def generation(self) -> int:
        with self._reading() as db:
            return Commit.read(db).generation

    def search_dense(self, vectors: Matrix, *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return [list(found.dense) for found in self._search(None, vectors, k, where)]

    def search_keyword(self, questions: Sequence[str], *, k: int, where: Filter | None = None) -> list[list[Hit]]:
        return [list(found.keyword) for found in self._search(questions, None, k, where)]

    def search_both(
        self, questions: Sequence[str], vectors: Matrix, *, k: int, where: Filter | None = None
    ) -> list[Rankings]:
        return self._search(questions, vectors, k, where)

    def document(self, document_id: str) -> Document | None:
        with self._reading() as db:
            found = rows(db, "SELECT * FROM documents WHERE id = ?", (document_id,))
        return stored.whole_document(found[0]) if found else None

    def documents(self, *, limit: int, offset: int = 0) -> list[Document]:
        with self._reading() as db:
            sql = f"SELECT {stored.DOCUMENT} FROM documents d ORDER BY source, rowid LIMIT ? OFFSET ?"
            return [stored.document(columns) for columns in rows(db, sql, (limit, offset))]

    def passages(
        self, where: Filter | None = None, *, ids: Sequence[str] | None = None, vectors: bool = False
    ) -> Iterator[PassageBatch]:
        return scan.passages(self._path, self.manifest.encoder.dim, where, ids=ids, vectors=vectors)

    def passages_of(self, document_id: str, *, limit: int, start: int = 0, end: int | None = None) -> list[Passage]:
        with self._reading() as db:
            return scan.passages_of(db, document_id, limit=limit, start=start, end=end)

    def count_passages(self, where: Filter) -> int:
        with self._reading() as db:
            return scan.count(db, where)

    def files(self) -> Iterator[FileRecord]:
        def page(after: str) -> list[Any]:
            with self._reading() as db:
                return rows(db, FILES_AFTER, (after,))

        return scan.files(page)

    def file_of(self, document_id: str) -> FileRecord | None:
        with self._reading() as db:
            sql = f"SELECT {FILE_COLUMNS} FROM files WHERE id = (SELECT file FROM documents WHERE id = ?)"
            found = rows(db, sql, (document_id,))
        return FileRecord(*found[0]) if found else None

    def fields(self) -> dict[str, str]:
        """Names of the metadata fields and their kinds."""
        with self._reading() as db:
            return dict(rows(db, "SELECT name, kind FROM fields ORDER BY name"))

    def counts(self) -> Mapping[str, int]:
        with self._reading() as db:
            return {name: int(rows(db, f"SELECT count(*) FROM {name}")[0]) for name in _COUNTED}

    def describe(self) -> dict[str, object]:
        """The kind of vector index, why and its size, and the caches; loads neither."""
        with self._reading() as db:
            facts = maintenance.describe(db, self._path.parent, self._settings)
        index = self._derived.loaded_vectors
        return facts if index is None else {**facts, "vector_index": index.describe()}

    def close(self) -> None:
        self._readers.close()

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """A connection inside one read transaction."""
        with self._readers.one() as reader, reader.transaction() as db:
            yield db

    def _search(
        self, questions: Sequence[str] | None, vectors: Matrix | None, k: int, where: Filter | None
    ) -> list[Rankings]:
        """Both rankings for each question; one is empty if `questions` or `vectors` is None."""
        for _ in range(_ATTEMPTS):
            try:
                return self._search_once(questions, vectors, k, where)
            except IndexReplaced:
                with self._lock:
                    self._current, self._commit = self._read_state()
        return self._search_once(questions, vectors, k, where)

    def _read_state(self) -> tuple[Manifest, Commit]:
        """The manifest and last commit. Raises IndexCorrupt when they contradict the recorded generation."""
        attempts = _ATTEMPTS
        while True:
            recorded = generation.read(self._path.parent)
            with self._reading() as db:
                current, commit = read_manifest(db), Commit.read(db)
            try:
                generation.require(recorded, self._path.parent, commit.lineage, commit.generation)
                return current, commit
            except IndexCorrupt:
                attempts -= 1  # another index may have been published between the record and the truth
                if not attempts:
                    raise

    def _search_once(
        self, questions: Sequence[str] | None, vectors: Matrix | None, k: int, where: Filter | None
    ) -> list[Rankings]:
        with self._readers.one() as reader, reader.transaction() as db:
            with self._lock, self._unchanged(reader):
                # The first SELECT fixes the view; taken under the lock, no derived structure can be ahead of it.
                now = Commit.read(db)
                self._require_same_index(now)
                among = None
                if where is not None:
                    among = self._derived.matching(db, now, filters.check(where, _fields(db)))
                dense = None if vectors is None else self._dense(db, now, vectors, k, among)
                keyword = None if questions is None else self._keyword(db, now, questions, k, among)
                degraded = vectors is not None and self._is_degraded()
            by_vector, by_word = _hits(db, dense=dense, bm25=keyword)
        return [
            Rankings(one, other, now.generation, degraded)
            for one, other in itertools.zip_longest(by_vector, by_word, fillvalue=())
        ]

    def _is_degraded(self) -> bool:
        """Whether vectors are not searched on the device that the settings ask for."""
        index = self._derived.loaded_vectors
        return index is not None and bool(index.degraded)

    @contextmanager
    def _unchanged(self, reader: Reader) -> Iterator[None]:
        """Raises IndexBusy and resets what was derived if an immutable file was changed meanwhile."""
        try:
            yield
        finally:
            try:
                reader.require_unchanged()
            except IndexBusy:
                self._derived.reset()
                raise

    def _require_same_index(self, now: Commit) -> None:
        """Raises IndexReplaced for another lineage or an earlier generation."""
        if now.lineage != self._commit.lineage or now.generation < self._commit.generation:
            raise IndexReplaced(f"{self._path} was replaced while it was read", hint="ask again")
        self._commit = now

    def _dense(self, db: apsw.Connection, now: Commit, vectors: Matrix, k: int, among: Rows | None) -> list[Scored]:
        # A rebuild may have changed the encoder.
        self._current.require_encoder(self.manifest.encoder)
        dim = self.manifest.encoder.dim
        index = self._derived.vectors(db, now)
        scores, found = index.search(vectors, k, exact=lambda wanted: exact_vectors(db, wanted, dim), among=among)
        return [list(zip(*row, strict=True)) for row in zip(found.tolist(), scores.tolist(), strict=True)]

    def _keyword(
        self, db: apsw.Connection, now: Commit, questions: Sequence[str], k: int, among: Rows | None
    ) -> list[Scored]:
        manifest = _manifest(rows(db, "SELECT json FROM manifest")[0])  # compacting may change the rules for words
        languages = rows(db, _LANGUAGES) if manifest.analysis == "auto" else [manifest.analysis]
        postings = self._derived.postings(db, now)
        words = [_words(question, languages, manifest.words, postings) for question in questions]
        return postings.search(words, k, among=among)


_COUNTED = ("files", "documents", "passages", "vectors")
_LANGUAGES = """WITH RECURSIVE l(code) AS (
  SELECT min(language) FROM documents UNION ALL
  SELECT (SELECT min(language) FROM documents WHERE language > code) FROM l WHERE code IS NOT NULL
) SELECT code FROM l WHERE code IS NOT NULL"""
"""Seeks from one language to the next in the index; SELECT DISTINCT would scan it."""
_PASSAGES = "SELECT p.* FROM carray(?) AS wanted CROSS JOIN passages p ON p.rowid = wanted.value"
_DOCUMENTS = f"SELECT {stored.DOCUMENT} FROM carray(?) AS wanted CROSS JOIN documents d ON d.rowid = wanted.value"


def _fields(db: apsw.Connection) -> list[str] | None:
    """None without documents, when any field is accepted."""
    return rows(db, "SELECT name FROM fields") or None


@functools.lru_cache(8)
def _manifest(text: str) -> Manifest:
    return Manifest.from_json(text)


def _words(question: str, languages: Sequence[str], rules: int, postings: Postings) -> NDArray[np.uint64]:
    """Hashes of the question's words, analysed in each language of the collection; identifiers are repeated.

    An unknown word also counts as each known one that differs by a typing mistake.
    """
    asked = analysis.asked(question, languages, rules)[:_MAX_TERMS]
    distinct, counts = analysis.hash_terms(asked)
    if postings.knows(distinct).all():
        return np.repeat(distinct, counts)
    found = [np.repeat(distinct, counts)]
    for word, terms in analysis.long_words(question, languages, rules).items():
        if not postings.knows(analysis.hash_terms(terms)[0]).any():
            others = analysis.hash_terms(analysis.corrections(word, languages))[0]
            found.append(np.setdiff1d(others[postings.knows(others)], distinct))
    return np.concatenate(found)


def _hits(db: apsw.Connection, **found: list[Scored] | None) -> list[list[list[Hit]]]:
    """The hits of each retriever for each question; a passage found by several is read once."""
    passages = _passages(
        db, sorted({row for rankings in found.values() for ranking in rankings or () for row, _ in ranking})
    )
    return [
        [[Hit(passages[row], score, {name: score}) for row, score in ranking] for ranking in rankings or ()]
        for name, rankings in found.items()
    ]


def _passages(db: apsw.Connection, wanted: Sequence[int]) -> dict[int, Passage]:
    """Raises IndexCorrupt for a missing or damaged passage."""
    found = _looked_up(db, _PASSAGES, wanted)
    for columns in found:
        stored.check_passage(columns)
    owners = _looked_up(db, _DOCUMENTS, sorted({columns[2] for columns in found}))
    documents = {columns[0]: stored.document(columns) for columns in owners}
    return {columns[0]: stored.passage(columns, documents[columns[2]]) for columns in found}


def _looked_up(db: apsw.Connection, sql: str, wanted: Sequence[int]) -> list[Any]:
    found = db.execute(sql, (apsw.carray(np.array(wanted, dtype=np.int64)),)).fetchall() if wanted else []
    if len(found) != len(wanted):
        raise IndexCorrupt("a passage that was found is missing from the index")
    return found
