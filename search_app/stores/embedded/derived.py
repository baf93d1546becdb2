"""What a reader derives from an index file and holds in memory: vectors, postings, and each passage's document.

Each is loaded on first use, from its cache file if that is valid, otherwise from the tables. From then on it follows
the commits of a writer incrementally.
"""

from __future__ import annotations

import itertools
import json
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexBusy, IndexCorrupt
from search_app.settings import KeywordSettings, VectorSettings
from search_app.stores.embedded import attributes, caches, checksums, ranges
from search_app.stores.embedded.connection import connect_reading, rows
from search_app.stores.embedded.postings import Postings
from search_app.stores.embedded.state import Commit, read_manifest
from search_app.stores.vectors import factory, gpu, plan
from search_app.stores.vectors.index import Arrays, Rows, VectorIndex
from search_app.stores.vectors.rows import positions_of
from search_app.types import Filter, Matrix


class _Removable(Protocol):
    def remove(self, rows: Rows, /) -> None: ...


T = TypeVar("T", bound=_Removable)
log = logging.getLogger(__name__)
_BATCH = 10_000
_FILTER_CACHE_BYTES = 64 << 20
_VECTORS = (
    "SELECT p.rowid, v.rowid, v.embedding, v.checksum FROM passages p JOIN vectors v ON v.rowid = p.vector"
    " WHERE p.rowid > ? ORDER BY p.rowid"
)
_TERMS = "SELECT passage, length, words, counts, checksum FROM terms WHERE passage > ? ORDER BY passage"
_EXACT = (
    "SELECT p.rowid, v.rowid, v.embedding, v.checksum FROM carray(?) AS wanted"
    " CROSS JOIN passages p ON p.rowid = wanted.value CROSS JOIN vectors v ON v.rowid = p.vector"
)


class IndexReplaced(IndexBusy):
    """The index was replaced during the query, which can be repeated at once."""


class Derived:
    """The derived structures of one index, each at the commit that a transaction sees. Not thread-safe."""

    def __init__(self, folder: Path, vectors: VectorSettings, keyword: KeywordSettings) -> None:
        self._vectors = _Vectors(folder, vectors)
        self._postings = _Postings(folder, keyword)
        self._documents = _Documents(folder)
        self._filters = _FilterCache()

    def vectors(self, db: apsw.Connection, now: Commit) -> VectorIndex:
        return self._vectors.at(db, now)

    def postings(self, db: apsw.Connection, now: Commit) -> Postings:
        return self._postings.at(db, now)

    def matching(self, db: apsw.Connection, now: Commit, where: Filter) -> Rows:
        """Passages of the documents that match, ascending."""
        return self._filters.get(
            now, where, lambda: self._documents.at(db, now).passages_of(attributes.matching(db, where))
        )

    @property
    def loaded_vectors(self) -> VectorIndex | None:
        """The vector index at its last commit; None before its first use."""
        return self._vectors.value

    def reset(self) -> None:
        for follower in (self._vectors, self._postings, self._documents):
            follower.reset()
        self._filters = _FilterCache()


class _Follower(ABC, Generic[T]):
    """One structure that follows the commits. `kind` names its cache file, if it has one."""

    kind = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reset()

    def reset(self) -> None:
        self.value: T | None = None
        self._lineage, self._generation, self._newest = "", -1, 0
        self._cache = ""

    def at(self, db: apsw.Connection, now: Commit) -> T:
        """The structure at this commit; after an error it starts over."""
        try:
            return self._follow(db, now)
        except BaseException:
            self.reset()
            raise

    def _follow(self, db: apsw.Connection, now: Commit) -> T:
        registered = "".join(rows(db, "SELECT sha256 FROM caches WHERE kind = ?", (self.kind,)))
        fits = self._lineage == now.lineage and now.removals_since <= self._generation <= now.generation
        if self.value is None or not fits or registered != self._cache:
            # A new cache needs fewer updates, and its kind suits the size of the index.
            cache = self._usable(db, now) if registered else None
            if self.value is None or not fits or cache is not None:
                self.reset()
                self.value, self._generation, self._newest = self._start(db, now, cache)
                self._lineage = now.lineage
            self._cache = registered
        value = self.value
        assert value is not None
        if self._generation != now.generation:
            gone = _numbers(db, "SELECT passage FROM removed WHERE generation > ?", (self._generation,))
            gone = gone[gone <= self._newest]
            if len(gone):
                value.remove(gone)
            newest = newest_passage(db)
            if newest > self._newest:
                self._add(db, value, self._newest)
                self._newest = newest
            self._generation = now.generation
        return value

    def _usable(self, db: apsw.Connection, now: Commit) -> caches.Cache | None:
        self._require_latest(db)
        cache = caches.load(db, self._folder, self.kind)
        return cache if cache is not None and cache.generation >= now.removals_since else None

    def _require_latest(self, db: apsw.Connection) -> None:
        """Raises IndexReplaced if a later commit replaced the cache file."""
        sql = "SELECT file FROM caches WHERE kind = ?"
        known = rows(db, sql, (self.kind,))
        if not all((self._folder / name).exists() for name in known):
            with closing(connect_reading(Path(db.filename))) as later:
                if rows(later, sql, (self.kind,)) != known:
                    raise IndexReplaced(f"{db.filename} was changed while it was opened", hint="ask again")

    @abstractmethod
    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[T, int, int]:
        """Load from the cache or the tables; returns the structure, its generation and its newest row."""

    @abstractmethod
    def _add(self, db: apsw.Connection, value: T, after: int) -> None:
        """Add the passages with greater row numbers than `after`."""


class _Vectors(_Follower[VectorIndex]):
    kind = "vectors"

    def __init__(self, folder: Path, settings: VectorSettings) -> None:
        super().__init__(folder)
        self._settings = settings

    def _usable(self, db: apsw.Connection, now: Commit) -> caches.Cache | None:
        # The settings may ask for another kind of index than the cached one; a GPU needs the exact vectors.
        count, dim = count_vectors(db), read_manifest(db).encoder.dim
        if gpu.wanted(self._settings, count) or plan.plan_index(count, dim, self._settings).kind == "flat":
            return None
        return super()._usable(db, now)

    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[VectorIndex, int, int]:
        dim = read_manifest(db).encoder.dim

        def opened(arrays: Arrays | None) -> VectorIndex:
            return factory.open_index(
                dim,
                count_vectors(db),
                lambda: vectors_after(db, 0, dim),
                arrays=arrays,
                settings=self._settings,
                may_train=False,
            )

        if cache is not None:
            try:
                return opened(cache.arrays), cache.generation, cache.newest
            except IndexCorrupt as error:  # intact, but written by another version of the program
                log.warning("%s; rebuilding it in memory", error)
        return opened(None), now.generation, newest_passage(db)

    def _add(self, db: apsw.Connection, value: VectorIndex, after: int) -> None:
        for passages, vectors in vectors_after(db, after, read_manifest(db).encoder.dim):
            value.add(passages, vectors)


class _Postings(_Follower[Postings]):
    kind = "postings"

    def __init__(self, folder: Path, settings: KeywordSettings) -> None:
        super().__init__(folder)
        self._settings = settings

    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[Postings, int, int]:
        postings = Postings(cache.arrays if cache else None, k1=self._settings.k1, b=self._settings.b)
        if cache is not None:
            return postings, cache.generation, cache.newest
        return add_terms(db, 0, postings), now.generation, newest_passage(db)

    def _add(self, db: apsw.Connection, value: Postings, after: int) -> None:
        add_terms(db, after, value)


class _PassageRows:
    """Maps documents to their passages, by row number; 16 bytes per passage."""

    def __init__(self) -> None:
        self._passages: Rows = np.zeros(0, dtype=np.int64)
        self._documents: Rows = np.zeros(0, dtype=np.int64)

    def add(self, passages: Rows, documents: Rows) -> None:
        """In any order, all greater than those before."""
        order = np.argsort(passages)
        self._passages = np.concatenate([self._passages, passages[order]])
        self._documents = np.concatenate([self._documents, documents[order]])

    def remove(self, passages: Rows) -> None:
        gone = positions_of(passages, self._passages)
        self._passages, self._documents = np.delete(self._passages, gone), np.delete(self._documents, gone)

    def passages_of(self, documents: Rows) -> Rows:
        """Ascending."""
        wanted = np.zeros(int(self._documents.max(initial=0)) + 1, dtype=np.bool_)
        wanted[documents[documents < len(wanted)]] = True
        return self._passages[wanted[self._documents]]


class _Documents(_Follower[_PassageRows]):
    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[_PassageRows, int, int]:
        value = _PassageRows()
        # A covering index: the texts are not read.
        self._take(value, db.execute("SELECT rowid, document FROM passages INDEXED BY passages_document"))
        return value, now.generation, newest_passage(db)

    def _add(self, db: apsw.Connection, value: _PassageRows, after: int) -> None:
        self._take(value, db.execute("SELECT rowid, document FROM passages WHERE rowid > ?", (after,)))

    def _take(self, value: _PassageRows, found: apsw.Cursor) -> None:
        pairs = np.fromiter(found, dtype=[("passage", np.int64), ("document", np.int64)])
        value.add(pairs["passage"], pairs["document"])


class _FilterCache:
    """Passages of the most recently used filters at one commit."""

    def __init__(self) -> None:
        self._commit: Commit | None = None
        self._known: OrderedDict[str, Rows] = OrderedDict()
        self._bytes = 0

    def get(self, now: Commit, where: Filter, resolve: Callable[[], Rows]) -> Rows:
        if now != self._commit:
            self._commit, self._bytes = now, 0
            self._known.clear()
        key = json.dumps(where, sort_keys=True, default=repr)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = resolve()
        self._known[key] = found
        self._bytes += found.nbytes
        while self._bytes > _FILTER_CACHE_BYTES:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def exact_vectors(db: apsw.Connection, passages: Rows, dim: int) -> Matrix:
    """The vectors of these passages, in their order, float32 (n, dim). Raises IndexCorrupt."""
    found = db.execute(_EXACT, (apsw.carray(np.ascontiguousarray(passages, dtype=np.int64)),)).fetchall()
    if [row[0] for row in found] != passages.tolist():
        raise IndexCorrupt("a passage's vector is missing from the index")
    return _matrix(found, dim)


def vectors_after(db: apsw.Connection, after: int, dim: int) -> Iterator[tuple[Rows, Matrix]]:
    """Batches of rows and vectors in order of row; passages without a vector are left out."""
    for batch in _batches(db.execute(_VECTORS, (after,))):
        yield _column(batch, 0), _matrix(batch, dim)


def terms_after(db: apsw.Connection, after: int) -> Iterator[ranges.Terms]:
    """Batches of the table `terms`, as `Postings.add` takes them."""
    for batch in _batches(db.execute(_TERMS, (after,))):
        for passage, length, words, counts, checksum in batch:
            checksums.require("terms", passage, checksum, checksums.of_terms(passage, length, words, counts))
        yield (
            _column(batch, 0),
            _column(batch, 1),
            np.fromiter((len(row[2]) // 8 for row in batch), dtype=np.int64, count=len(batch)),
            np.frombuffer(b"".join(row[2] for row in batch), dtype="<u8"),
            np.frombuffer(b"".join(row[3] for row in batch), dtype="<u2"),
        )


def add_terms(db: apsw.Connection, after: int, postings: Postings) -> Postings:
    """Add the terms of all passages after a row to the postings."""
    for batch in terms_after(db, after):
        postings.add(*batch)
    return postings


def newest_passage(db: apsw.Connection) -> int:
    """The greatest row number; 0 without a passage."""
    return int(rows(db, "SELECT coalesce(max(rowid), 0) FROM passages")[0])


def count_passages(db: apsw.Connection) -> int:
    """The number of passages."""
    return int(rows(db, "SELECT count(*) FROM passages")[0])


def count_vectors(db: apsw.Connection) -> int:
    """Passages with a vector."""
    return int(rows(db, "SELECT count(*) FROM passages WHERE vector > 0")[0])


def _matrix(found: Sequence[Any], dim: int) -> Matrix:
    for _, row, embedding, checksum in found:
        checksums.require("vector", row, checksum, checksums.of_vector(row, embedding))
    return np.frombuffer(b"".join(row[2] for row in found), dtype="<f4").reshape(len(found), dim)


def _batches(found: apsw.Cursor) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(found, _BATCH)):
        yield batch


def _column(batch: Sequence[Any], place: int) -> NDArray[np.int64]:
    return np.fromiter((row[place] for row in batch), dtype=np.int64, count=len(batch))


def _numbers(db: apsw.Connection, sql: str, parameters: Sequence[Any]) -> Rows:
    """One column, ascending."""
    return np.sort(np.fromiter((row[0] for row in db.execute(sql, tuple(parameters))), dtype=np.int64))
