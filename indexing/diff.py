"""Compare the files that a scan finds with those in the index. The result is kept on disk, not in memory."""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import apsw

from indexing import object_stores, sources, unread
from indexing.formats import kind_of
from indexing.sources import OtherObject, Scan, Skip, SkippedFile, SourceFile
from search_app.errors import ConfigurationError
from search_app.protocols import FileRecord

_PAGE = 500
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -8192;
CREATE TABLE known (path TEXT PRIMARY KEY, source TEXT, digest TEXT, size INTEGER, modified_ns INTEGER,
  documents INTEGER) WITHOUT ROWID;
CREATE TABLE found (id INTEGER PRIMARY KEY, path TEXT UNIQUE, source TEXT, format TEXT, size INTEGER,
  changed_ns INTEGER, modified_ns INTEGER, sidecar TEXT, digest TEXT, outcome TEXT, reason TEXT, is_file INTEGER,
  is_empty INTEGER);
CREATE TABLE removed (id INTEGER PRIMARY KEY, path TEXT);
BEGIN;
"""
_SIDECAR = "sidecar"
_FILE = "path, source, format, size, changed_ns, modified_ns, sidecar"


class Outcome(StrEnum):
    """What a job does with a file."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Counts:
    """Files by outcome."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `count`, from 1. A hash of its path or URL assigns each file, alike on every machine."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigurationError(
                f"--shard {self.index}/{self.count}: no such shard",
                hint=f"give 1/{max(1, self.count)} to {max(1, self.count)}/{max(1, self.count)}",
                field="shard",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "2/3"."""
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
        if found is None:
            raise ConfigurationError(
                f"--shard {text}: not a shard", hint="write it as 2/3 for the second of three", field="shard"
            )
        return cls(int(found[1]), int(found[2]))

    def contains(self, path: str) -> bool:
        """Whether the file at this absolute path or URL belongs to this shard."""
        return self.shard_of(path) == self.index

    def shard_of(self, path: str) -> int:
        """Index of the shard that the file belongs to."""
        number = int.from_bytes(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()[:8])
        return number % self.count + 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True)
class ShardSize:
    """Files that the scan found for one shard, unchanged ones included."""

    shard: str
    files: int = 0
    bytes: int = 0


class IndexDiff:
    """Files by outcome, in a temporary database that is deleted on `close` or when the process ends. Thread-safe.

    `bytes` is the size of the files to index. `shard_sizes` lists all shards where the job is for one of them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self.bytes = 0
        self.shard_sizes: list[ShardSize] = []
        with tempfile.TemporaryDirectory(prefix="diff-", dir=folder) as temporary:
            self._db = apsw.Connection(str(Path(temporary, "diff.db")))
            self._db.execute(_SCHEMA).fetchall()
        # The file is unlinked but still open: a process that is killed leaves nothing behind.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @property
    def counts(self) -> Counts:
        with self._lock:
            return Counts(**{outcome.value: self._counts[outcome] for outcome in Outcome})

    def to_index(self) -> Iterator[tuple[SourceFile, str]]:
        """Added files, then changed ones, in scan order, each with the digest of its bytes.

        The digest of an object in a store is empty unless it has been read.
        """
        for outcome in (Outcome.ADDED, Outcome.CHANGED):
            for *file, digest in self._found(f"{_FILE}, digest", outcome):
                yield SourceFile(*file), digest

    def removed(self) -> Iterator[str]:
        """Absolute paths or URLs of files to remove from the index."""
        for _, path in self._pages("SELECT id, path FROM removed WHERE id > ? ORDER BY id LIMIT ?"):
            yield path

    def sources(self, outcome: Outcome) -> Iterator[str]:
        """Files of one outcome, named as given; removed ones by path."""
        if outcome is Outcome.REMOVED:
            yield from self.removed()
        else:
            for (source,) in self._found("source", outcome):
                yield source

    def reasons(self, outcome: Outcome) -> Iterator[Skip]:
        """Skipped or failed files, with the reason."""
        for source, reason in self._found("source, reason", outcome):
            yield Skip(source, reason)

    def formats(self) -> dict[str, Counter[Outcome]]:
        """Files that the scan found by format and outcome; files without a format count by their ending."""
        found: dict[str, Counter[Outcome]] = {}
        with self._lock:
            sql = "SELECT format, outcome, count(*) FROM found WHERE outcome NOT NULL GROUP BY 1, 2"
            for kind, outcome, count in self._db.execute(sql):
                found.setdefault(kind, Counter())[Outcome(outcome)] = count
        return found

    def unread_pages(self) -> dict[str, int]:
        """Pages of unchanged files that are not in the index, as the extra `ocr` is not installed, by source."""
        sql = "SELECT f.source, k.digest FROM known k JOIN found f USING (path) WHERE f.outcome = ? AND k.digest LIKE ?"
        with self._lock:
            found = [
                (source, unread.pages(digest))
                for source, digest in self._db.execute(sql, (Outcome.UNCHANGED, "%+ocr@%"))
            ]
        return {source: pages for source, pages in found if pages}

    def has_content(self, digest: str) -> bool:
        """Whether a file of these bytes is in the index, at any path."""
        with self._lock:
            self._db.execute("CREATE INDEX IF NOT EXISTS by_digest ON known (digest)")
            return bool(list(self._db.execute("SELECT 1 FROM known WHERE digest = ? LIMIT 1", (digest,))))

    def mark(self, path: str, outcome: Outcome, reason: str) -> None:
        """Change the outcome of a file that could not be indexed."""
        with self._lock:
            for (before,) in list(self._db.execute("SELECT outcome FROM found WHERE path = ?", (path,))):
                self._db.execute("UPDATE found SET outcome = ?, reason = ? WHERE path = ?", (outcome, reason, path))
                self._counts[Outcome(before)] -= 1
                self._counts[outcome] += 1

    def _fill(self, found: Scan, known: Iterable[FileRecord], shard: Shard | None) -> None:
        if shard is not None:
            self.shard_sizes = [ShardSize(str(Shard(number, shard.count))) for number in range(1, shard.count + 1)]
        self._add_known(record for record in known if shard is None or shard.contains(record.path))
        for item in found:
            if shard is not None and isinstance(item, SourceFile):
                index = shard.shard_of(item.path) - 1
                size = self.shard_sizes[index]
                self.shard_sizes[index] = replace(size, files=size.files + 1, bytes=size.bytes + item.size)
            if self._is_found(item.path):
                continue
            if isinstance(item, OtherObject):
                self._add_other(item)
            elif shard is not None and not shard.contains(item.path):
                continue
            elif isinstance(item, SkippedFile):
                self._add_skipped(item)
            elif object_stores.is_url(item.path):
                self._add_file(item, None)  # its metadata may come later in the listing
            else:
                self._add_file(item, *_classify(item, self._known(item.path)))
        self._classify_objects()
        self._find_removed(found)

    def _found(self, columns: str, outcome: Outcome) -> Iterator[tuple[Any, ...]]:
        sql = f"SELECT id, {columns} FROM found WHERE outcome = '{outcome}' AND id > ? ORDER BY id LIMIT ?"
        for _, *row in self._pages(sql):
            yield tuple(row)

    def _pages(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Rows that begin with their id, a page at a time, so that others may write in between."""
        last = 0
        while True:
            with self._lock:
                page = list(self._db.execute(sql, (last, _PAGE)))
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def _add_known(self, records: Iterable[FileRecord]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?)", map(astuple, records))

    def _known(self, path: str) -> FileRecord | None:
        rows = list(self._db.execute("SELECT * FROM known WHERE path = ?", (path,)))
        return FileRecord(*rows[0]) if rows else None

    def _is_found(self, path: str) -> bool:
        return bool(list(self._db.execute("SELECT 1 FROM found WHERE path = ?", (path,))))

    def _add_file(self, file: SourceFile, outcome: Outcome | None, digest: str = "", reason: str = "") -> None:
        self._db.execute(
            f"INSERT INTO found ({_FILE}, digest, outcome, reason, is_file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (*astuple(file), digest, outcome, reason),
        )
        if outcome is not None:
            self._count(outcome, file.size)

    def _add_other(self, item: OtherObject) -> None:
        self._db.execute(
            "INSERT INTO found (path, changed_ns, format, is_file) VALUES (?, ?, ?, 1)",
            (item.path, item.version, _SIDECAR if item.is_sidecar else None),
        )

    def _classify_objects(self) -> None:
        sql = f"SELECT id, {_FILE} FROM found WHERE source NOT NULL AND outcome IS NULL AND id > ? ORDER BY id LIMIT ?"
        for number, *columns in self._pages(sql):
            file = SourceFile(*columns)
            for name in sources.sidecar_names(file.path):
                version = self._db.execute(
                    "SELECT changed_ns FROM found WHERE path = ? AND format = ?", (name, _SIDECAR)
                ).get
                if version is not None:
                    file = sources.with_sidecar(file, name, version)
                    break
            outcome, digest, reason = _classify(file, self._known(file.path))
            self._db.execute(
                "UPDATE found SET changed_ns = ?, sidecar = ?, digest = ?, outcome = ?, reason = ? WHERE id = ?",
                (file.changed_ns, file.sidecar, digest, outcome, reason, number),
            )
            self._count(outcome, file.size)

    def _count(self, outcome: Outcome, size: int) -> None:
        self._counts[outcome] += 1
        if outcome in (Outcome.ADDED, Outcome.CHANGED):
            self.bytes += size

    def _add_skipped(self, item: SkippedFile) -> None:
        outcome = Outcome.FAILED if item.failed else Outcome.SKIPPED
        self._db.execute(
            "INSERT INTO found (path, source, format, outcome, reason, is_empty) VALUES (?, ?, ?, ?, ?, ?)",
            (item.path, item.source, kind_of(item.path), outcome, item.reason, item.empty),
        )
        self._counts[outcome] += 1

    def _find_removed(self, found: Scan) -> None:
        """A file counts as removed only if it has certainly been deleted, or is empty now."""
        sql = (
            "SELECT k.path, ifnull(f.is_empty, 0) FROM known k LEFT JOIN found f ON f.path = k.path"
            " WHERE f.is_file IS NULL AND k.path > ? ORDER BY k.path LIMIT ?"
        )
        last = ""
        while page := list(self._db.execute(sql, (last, _PAGE))):
            for path, is_empty in page:
                if is_empty or found.is_deleted(path):
                    self._db.execute("INSERT INTO removed (path) VALUES (?)", (path,))
                    self._counts[Outcome.REMOVED] += 1
            last = page[-1][0]


def diff(
    found: Scan, known: Iterable[FileRecord], *, shard: Shard | None = None, folder: Path | None = None
) -> IndexDiff:
    """Compare a scan with the files in the index; both are iterated once. Close the result.

    With `shard`, files of other shards are ignored. The temporary database goes to `folder`.
    """
    changes = IndexDiff(folder)
    try:
        changes._fill(found, known, shard)
    except BaseException:
        changes.close()
        raise
    return changes


def _classify(file: SourceFile, record: FileRecord | None) -> tuple[Outcome, str, str]:
    """The outcome, the digest and the reason."""
    if record is not None and unread.is_outdated(record.digest):
        return Outcome.CHANGED, "", ""
    if record is not None and sources.is_unchanged(file, record):
        return Outcome.UNCHANGED, record.digest, ""
    if object_stores.is_url(file.path):
        if record is None:
            return Outcome.ADDED, "", ""
        if not record.digest or file.changed_ns:  # comparing its bytes would fetch it twice
            return Outcome.CHANGED, "", ""
    try:
        digest = sources.digest(file)
    except FileNotFoundError:
        return Outcome.SKIPPED, "", "it was deleted while the job ran"
    except OSError as error:
        return Outcome.FAILED, "", sources.reason_of(error)
    if record is None:
        return Outcome.ADDED, digest, ""
    return (Outcome.UNCHANGED if unread.unmarked(record.digest) == digest else Outcome.CHANGED), digest, ""
