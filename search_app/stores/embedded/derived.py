"""What is derived from an index file and value in memory: vectors, postings, and which passages a document has.

Each part is brought up when it is first asked for, from its cache file where there is one that holds, else from the
truth; from then on it follows the commits by the difference.
"""

from __future__ import annotations

import itertools
import json
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexBusy, IndexCorrupt
from search_app.manifest import Manifest
from search_app.settings import KeywordSettings, VectorSettings
from search_app.stores.embedded import attributes, caches, checksums, ranges
from search_app.stores.embedded.connection import connect_reading, rows
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.postings import Postings
from search_app.stores.vectors import factory, gpu, plan
from search_app.stores.vectors.index import Arrays, Rows, VectorIndex
from search_app.stores.vectors.rows import positions_of
from search_app.types import Filter, Matrix

T = TypeVar("T")
log = logging.getLogger(__name__)
_BATCH = 10_000
_POSTINGS_CACHED = 20_000
"""Passages from which on postings are cached: below, they are derived in a second or so."""
_POSTINGS_AT_ONCE = 8_000_000
"""In memory while a cache of them is made, 12 bytes each; more are made in several passes over the words."""
_CHANGED = 10
"""Caches are made anew once more than one in so many passages has changed."""
_FILTER_BYTES = 64 << 20
_VECTORS = (
    "SELECT p.rowid, v.rowid, v.embedding, v.checksum FROM passages p JOIN vectors v ON v.rowid = p.vector"
    " WHERE p.rowid > ? ORDER BY p.rowid"
)
_TERMS = "SELECT passage, length, words, counts, checksum FROM terms WHERE passage > ? ORDER BY passage"
_EXACT = (
    "SELECT p.rowid, v.rowid, v.embedding, v.checksum FROM carray(?) AS wanted"
    " CROSS JOIN passages p ON p.rowid = wanted.value CROSS JOIN vectors v ON v.rowid = p.vector"
)


@dataclass(frozen=True, slots=True)
class Commit:
    """The state of the truth that a transaction sees."""

    lineage: str
    generation: int
    removals_since: int

    @classmethod
    def read(cls, db: apsw.Connection) -> Commit:
        return cls(*rows(db, "SELECT lineage, generation, removals_since FROM manifest")[0])


class IndexReplaced(IndexBusy):
    """The index is not what it was when the question began; the question can be asked again at once."""


class Derived:
    """The derived parts of one index, each at the commit that a transaction sees. Not thread-safe: the store locks."""

    def __init__(self, folder: Path, vectors: VectorSettings, keyword: KeywordSettings) -> None:
        self._vectors = _Vectors(folder, vectors)
        self._postings = _Postings(folder, keyword)
        self._documents = _Documents(folder)
        self._filters = _Filters()

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
        """Of whatever commit; None while nobody has asked for them."""
        return self._vectors.value

    def reset(self) -> None:
        for part in (self._vectors, self._postings, self._documents):
            part.reset()
        self._filters = _Filters()


def exact_vectors(db: apsw.Connection, passages: Rows, dim: int) -> Matrix:
    """The vectors of these passages, in their order, from the truth. Raises IndexCorrupt."""
    found = db.execute(_EXACT, (apsw.carray(np.ascontiguousarray(passages, dtype=np.int64)),)).fetchall()
    if [row[0] for row in found] != passages.tolist():
        raise IndexCorrupt("a passage's vector is missing from the index", hint=checksums.DAMAGED)
    return _matrix(found, dim)


def refresh_caches(
    db: apsw.Connection, folder: Path, files: Files, settings: VectorSettings, *, fresh: bool = False
) -> None:
    """Writes the caches that are missing, are far behind or, if `fresh`, any; drops those that help no more.

    For the writer, which nobody else's commit can overtake. Everything is made from the truth.
    """
    now, dim, newest = Commit.read(db), _dim(db), _newest(db)
    passages, vectors = _count(db, "passages"), _count_vectors(db)
    on_cpu = settings.model_copy(update={"device": "cpu"})
    chosen = plan.plan_index(vectors, dim, on_cpu)
    for kind, wanted in (("postings", passages > _POSTINGS_CACHED), ("vectors", chosen.kind != "flat")):
        if not wanted:
            caches.drop(files, db, folder, [kind])
        elif fresh or _behind(db, now, kind) * _CHANGED > passages:
            if kind == "postings":
                _save_postings(files, db, folder, generation=now.generation, newest=newest)
                continue
            arrays = factory.open_index(
                dim, vectors, lambda: _vectors_after(db, 0, dim), arrays=None, settings=on_cpu, may_train=True
            ).to_arrays()
            assert arrays is not None
            caches.save(files, db, folder, kind, arrays, generation=now.generation, newest=newest)


def describe(db: apsw.Connection, folder: Path, settings: VectorSettings) -> dict[str, object]:
    """How vectors are searched, why, and in how much memory, and the state of the caches; loads neither."""
    count, dim, now = _count_vectors(db), _dim(db), Commit.read(db)
    chosen = plan.plan_index(count, dim, settings)
    each = plan.bytes_per_vector(dim, codes=bool(chosen.parameters["codes"])) if chosen.parameters else 4 * dim + 8
    known = rows(db, "SELECT kind, file, bytes FROM caches ORDER BY kind")
    return {
        "vector_index": (
            {"kind": "gpu", "why": f"vectors.device is {settings.device}"}
            if gpu.wanted(settings, count)
            else {"kind": chosen.kind, **chosen.parameters, "why": chosen.why, "bytes": count * each}
        ),
        "caches": {
            kind: {"bytes": size, "passages_behind": _behind(db, now, kind), "there": (folder / name).is_file()}
            for kind, name, size in known
        },
    }


class _Follower(ABC, Generic[T]):
    """One derived structure that follows the truth. `kind` is that of its cache file, or empty."""

    kind = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reset()

    def reset(self) -> None:
        self.value: T | None = None
        self._lineage, self._generation, self._newest = "", -1, 0
        self._cache = ""

    def at(self, db: apsw.Connection, now: Commit) -> T:
        """Brought to this commit; a half-made or half-followed structure is not kept."""
        try:
            return self._follow(db, now)
        except BaseException:
            self.reset()
            raise

    def _follow(self, db: apsw.Connection, now: Commit) -> T:
        registered = "".join(rows(db, "SELECT sha256 FROM caches WHERE kind = ?", (self.kind,)))
        fits = self._lineage == now.lineage and now.removals_since <= self._generation <= now.generation
        if self.value is None or not fits or registered != self._cache:
            # A new cache is nearer to the truth, and of the kind that suits its size.
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
            self._remove(value, gone[gone <= self._newest])
            newest = _newest(db)
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
        """Raises IndexReplaced if a later commit replaced the file: no damage, just bad timing."""
        sql = "SELECT file FROM caches WHERE kind = ?"
        known = rows(db, sql, (self.kind,))
        if not all((self._folder / name).exists() for name in known):
            with closing(connect_reading(Path(db.filename))) as later:
                if rows(later, sql, (self.kind,)) != known:
                    raise IndexReplaced(f"{db.filename} was changed while it was opened", hint="ask again")

    @abstractmethod
    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[T, int, int]:
        """The structure, and the generation and newest row that it is at."""

    @abstractmethod
    def _add(self, db: apsw.Connection, value: T, after: int) -> None: ...

    @abstractmethod
    def _remove(self, value: T, passages: Rows) -> None:
        """`passages` ascend."""


class _Vectors(_Follower[VectorIndex]):
    kind = "vectors"

    def __init__(self, folder: Path, settings: VectorSettings) -> None:
        super().__init__(folder)
        self._settings = settings

    def _usable(self, db: apsw.Connection, now: Commit) -> caches.Cache | None:
        # Settings may want another kind than the one that was cached; a GPU takes the exact vectors.
        count = _count_vectors(db)
        other = gpu.wanted(self._settings, count) or plan.plan_index(count, _dim(db), self._settings).kind == "flat"
        return None if other else super()._usable(db, now)

    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[VectorIndex, int, int]:
        dim, count = _dim(db), _count_vectors(db)

        def opened(arrays: Arrays | None) -> VectorIndex:
            return factory.open_index(
                dim, count, lambda: _vectors_after(db, 0, dim), arrays=arrays, settings=self._settings, may_train=False
            )

        if cache is not None:
            try:
                return opened(cache.arrays), cache.generation, cache.newest
            except IndexCorrupt as error:  # whole, but of another program
                log.warning("%s; it is made anew in memory", error)
        return opened(None), now.generation, _newest(db)

    def _add(self, db: apsw.Connection, value: VectorIndex, after: int) -> None:
        for passages, vectors in _vectors_after(db, after, _dim(db)):
            value.add(passages, vectors)

    def _remove(self, value: VectorIndex, passages: Rows) -> None:
        if len(passages):
            value.remove(passages)


class _Postings(_Follower[Postings]):
    kind = "postings"

    def __init__(self, folder: Path, settings: KeywordSettings) -> None:
        super().__init__(folder)
        self._settings = settings

    def _start(self, db: apsw.Connection, now: Commit, cache: caches.Cache | None) -> tuple[Postings, int, int]:
        postings = Postings(cache.arrays if cache else None, k1=self._settings.k1, b=self._settings.b)
        if cache is not None:
            return postings, cache.generation, cache.newest
        return _postings_from(db, 0, postings), now.generation, _newest(db)

    def _add(self, db: apsw.Connection, value: Postings, after: int) -> None:
        _postings_from(db, after, value)

    def _remove(self, value: Postings, passages: Rows) -> None:
        if len(passages):
            value.remove(passages)


class _PassageRows:
    """Each passage's document, by row numbers; 16 bytes a passage."""

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
        # All of them stand in the index over documents, so the texts are not read.
        self._take(value, db.execute("SELECT rowid, document FROM passages INDEXED BY passages_document"))
        return value, now.generation, _newest(db)

    def _add(self, db: apsw.Connection, value: _PassageRows, after: int) -> None:
        self._take(value, db.execute("SELECT rowid, document FROM passages WHERE rowid > ?", (after,)))

    def _remove(self, value: _PassageRows, passages: Rows) -> None:
        if len(passages):
            value.remove(passages)

    def _take(self, value: _PassageRows, found: apsw.Cursor) -> None:
        pairs = np.fromiter(found, dtype=[("passage", np.int64), ("document", np.int64)])
        value.add(pairs["passage"], pairs["document"])


class _Filters:
    """Passages of the filters that were asked last, of one commit."""

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
        found: Rows = resolve()
        self._known[key] = found
        self._bytes += found.nbytes
        while self._bytes > _FILTER_BYTES:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def _vectors_after(db: apsw.Connection, after: int, dim: int) -> Iterator[tuple[Rows, Matrix]]:
    """In order of row; passages without a vector are left out."""
    for batch in _batches(db.execute(_VECTORS, (after,))):
        yield np.fromiter((row[0] for row in batch), dtype=np.int64, count=len(batch)), _matrix(batch, dim)


def _matrix(found: Sequence[Any], dim: int) -> Matrix:
    for _, row, embedding, checksum in found:
        checksums.require("vector", row, checksum, checksums.of_vector(row, embedding))
    joined = b"".join(row[2] for row in found)
    return np.frombuffer(joined, dtype="<f4").reshape(len(found), dim)


def _postings_from(db: apsw.Connection, after: int, postings: Postings) -> Postings:
    for batch in _terms(db, after):
        postings.add(*batch)
    return postings


def _terms(db: apsw.Connection, after: int = 0) -> Iterator[ranges.Terms]:
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


def _save_postings(files: Files, db: apsw.Connection, folder: Path, *, generation: int, newest: int) -> None:
    [size] = rows(db, "SELECT coalesce(sum(length(counts)), 0) FROM terms")
    count = -(-int(size) // (2 * _POSTINGS_AT_ONCE))
    if count <= 1:
        arrays = _postings_from(db, 0, Postings()).to_arrays()
        caches.save(files, db, folder, "postings", arrays, generation=generation, newest=newest)
        return
    try:
        spooled = ranges.postings_by_range(lambda: _terms(db), count, files, folder)
        caches.save(files, db, folder, "postings", spooled, generation=generation, newest=newest)
    finally:
        ranges.clear(files, folder)


def _batches(found: apsw.Cursor) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(found, _BATCH)):
        yield batch


def _column(batch: Sequence[Any], place: int) -> NDArray[np.int64]:
    return np.fromiter((row[place] for row in batch), dtype=np.int64, count=len(batch))


def _numbers(db: apsw.Connection, sql: str, parameters: Sequence[Any]) -> Rows:
    """One column, ascending."""
    found = np.fromiter((row[0] for row in db.execute(sql, tuple(parameters))), dtype=np.int64)
    return np.sort(found)


def _behind(db: apsw.Connection, now: Commit, kind: str) -> int:
    """Passages that came or went since the cache was made; all and one more where there is none that can be used."""
    for generation, newest in rows(db, "SELECT generation, newest FROM caches WHERE kind = ?", (kind,)):
        if generation >= now.removals_since:
            came = rows(db, "SELECT count(*) FROM passages WHERE rowid > ?", (newest,))[0]
            went = rows(db, "SELECT count(*) FROM removed WHERE generation > ?", (generation,))[0]
            return int(came) + int(went)
    return _count(db, "passages") + 1


def _newest(db: apsw.Connection) -> int:
    return int(rows(db, "SELECT coalesce(max(rowid), 0) FROM passages")[0])


def _count(db: apsw.Connection, table: str) -> int:
    return int(rows(db, f"SELECT count(*) FROM {table}")[0])


def _count_vectors(db: apsw.Connection) -> int:
    return int(rows(db, "SELECT count(*) FROM passages WHERE vector > 0")[0])


def _dim(db: apsw.Connection) -> int:
    return Manifest.from_json(rows(db, "SELECT json FROM manifest")[0]).encoder.dim
