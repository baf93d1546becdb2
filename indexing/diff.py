"""What a job has to do: the files that were found, against what the index knows. It is kept on disk, not in memory."""

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
from types import TracebackType
from typing import Any, Self

import apsw

from indexing import objects, sources
from indexing.sources import LeftOut, Present, Scan, Skip, SourceFile
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
    """What becomes of a file."""

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
    """Part `index` of `count`, from 1 on: by a hash of the path or URL, so every machine shares them out alike."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigurationError(
                f"--shard {self.index}/{self.count}: there is no such shard",
                hint=f"give 1/{max(1, self.count)} to {max(1, self.count)}/{max(1, self.count)}",
                field="shard",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "2/3"."""
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
        if found is None:
            raise ConfigurationError(
                f"--shard {text}: not a shard", hint="give it as 2/3, the second of three", field="shard"
            )
        return cls(int(found[1]), int(found[2]))

    def takes(self, path: str) -> bool:
        """Is the file of this absolute path, or URL, one of this shard's?"""
        return self.taker(path) == self.index

    def taker(self, path: str) -> int:
        """The index of the shard that takes it."""
        number = int.from_bytes(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()[:8])
        return number % self.count + 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True)
class Share:
    """What a shard takes of all that was found, whether there is something to do or not."""

    shard: str
    files: int = 0
    bytes: int = 0


class IndexDiff:
    """Files by what is to be done with them, in a scratch database that goes with `close`, or with the process.

    May be read from any thread, one statement at a time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self.bytes = 0
        """Of the files to index as they were found."""
        self.shares: list[Share] = []
        """Of each shard in order, where the work is one shard's."""
        with tempfile.TemporaryDirectory(prefix="work-", dir=folder) as place:
            self._db = apsw.Connection(str(Path(place, "work.db")))
            self._db.execute(_SCHEMA).fetchall()
        # The name is gone, the open file is not: a process that is killed leaves nothing behind.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @property
    def counts(self) -> Counts:
        with self._lock:
            return Counts(**{outcome.value: self._counts[outcome] for outcome in Outcome})

    def to_index(self) -> Iterator[tuple[SourceFile, str]]:
        """Added, then changed files in the order of the scan, with the digest of their bytes.

        The digest of an object in a store is empty where it was not read: see `sources.local`.
        """
        for outcome in (Outcome.ADDED, Outcome.CHANGED):
            for *file, digest in self._found(f"{_FILE}, digest", outcome):
                yield SourceFile(*file), digest

    def removed(self) -> Iterator[str]:
        """Absolute paths, or URLs, as the index knows them."""
        for _, path in self._pages("SELECT id, path FROM removed WHERE id > ? ORDER BY id LIMIT ?"):
            yield path

    def sources(self, outcome: Outcome) -> Iterator[str]:
        """Names as they were given; of what is removed the paths."""
        if outcome is Outcome.REMOVED:
            yield from self.removed()
        else:
            for (source,) in self._found("source", outcome):
                yield source

    def reasons(self, outcome: Outcome) -> Iterator[Skip]:
        """Of what is skipped or failed."""
        for source, reason in self._found("source, reason", outcome):
            yield Skip(source, reason)

    def knows(self, digest: str) -> bool:
        """Is a file of these bytes in the index, at whatever path?"""
        with self._lock:
            self._db.execute("CREATE INDEX IF NOT EXISTS by_digest ON known (digest)")
            return bool(list(self._db.execute("SELECT 1 FROM known WHERE digest = ? LIMIT 1", (digest,))))

    def set_aside(self, path: str, outcome: Outcome, reason: str) -> None:
        """A file that was to be indexed and turned out to be skipped or to fail."""
        with self._lock:
            for (before,) in list(self._db.execute("SELECT outcome FROM found WHERE path = ?", (path,))):
                self._db.execute("UPDATE found SET outcome = ?, reason = ? WHERE path = ?", (outcome, reason, path))
                self._counts[Outcome(before)] -= 1
                self._counts[outcome] += 1

    def _found(self, columns: str, outcome: Outcome) -> Iterator[tuple[Any, ...]]:
        sql = f"SELECT id, {columns} FROM found WHERE outcome = '{outcome}' AND id > ? ORDER BY id LIMIT ?"
        for _, *row in self._pages(sql):
            yield tuple(row)

    def _pages(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Rows that begin with their id, a page at a time: what is written in between does no harm."""
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

    def _is_there(self, path: str) -> bool:
        return bool(list(self._db.execute("SELECT 1 FROM found WHERE path = ?", (path,))))

    def _add_file(self, file: SourceFile, outcome: Outcome | None, digest: str = "", reason: str = "") -> None:
        self._db.execute(
            f"INSERT INTO found ({_FILE}, digest, outcome, reason, is_file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (*astuple(file), digest, outcome, reason),
        )
        if outcome is not None:
            self._count(outcome, file.size)

    def _add_present(self, item: Present) -> None:
        self._db.execute(
            "INSERT INTO found (path, changed_ns, format, is_file) VALUES (?, ?, ?, 1)",
            (item.path, item.version, _SIDECAR if item.is_sidecar else None),
        )

    def _judge_objects(self) -> None:
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
            outcome, digest, reason = _judged(file, self._known(file.path))
            self._db.execute(
                "UPDATE found SET changed_ns = ?, sidecar = ?, digest = ?, outcome = ?, reason = ? WHERE id = ?",
                (file.changed_ns, file.sidecar, digest, outcome, reason, number),
            )
            self._count(outcome, file.size)

    def _count(self, outcome: Outcome, size: int) -> None:
        self._counts[outcome] += 1
        if outcome in (Outcome.ADDED, Outcome.CHANGED):
            self.bytes += size

    def _add_left_out(self, item: LeftOut) -> None:
        outcome = Outcome.FAILED if item.failed else Outcome.SKIPPED
        self._db.execute(
            "INSERT INTO found (path, source, outcome, reason, is_empty) VALUES (?, ?, ?, ?, ?)",
            (item.path, item.source, outcome, item.reason, item.empty),
        )
        self._counts[outcome] += 1

    def _remove_what_is_gone(self, found: Scan) -> None:
        """A file counts as removed only where it is clearly gone, or empty now."""
        sql = (
            "SELECT k.path, ifnull(f.is_empty, 0) FROM known k LEFT JOIN found f ON f.path = k.path"
            " WHERE f.is_file IS NULL AND k.path > ? ORDER BY k.path LIMIT ?"
        )
        last = ""
        while page := list(self._db.execute(sql, (last, _PAGE))):
            for path, is_empty in page:
                if is_empty or found.lost(path):
                    self._db.execute("INSERT INTO removed (path) VALUES (?)", (path,))
                    self._counts[Outcome.REMOVED] += 1
            last = page[-1][0]


def compare(
    found: Scan, known: Iterable[FileRecord], *, shard: Shard | None = None, folder: Path | None = None
) -> IndexDiff:
    """The scan against what the index knows, each gone through once. Close what is returned.

    `shard` leaves out what another one takes, of what is there and of what is gone alike; `folder` is for scratch.
    """
    work = IndexDiff(folder)
    if shard is not None:
        work.shares = [Share(str(Shard(number, shard.count))) for number in range(1, shard.count + 1)]
    try:
        work._add_known(record for record in known if shard is None or shard.takes(record.path))
        for item in found:
            if shard is not None and isinstance(item, SourceFile):
                share = work.shares[taker := shard.taker(item.path) - 1]
                work.shares[taker] = replace(share, files=share.files + 1, bytes=share.bytes + item.size)
            if work._is_there(item.path):
                continue
            if isinstance(item, Present):
                work._add_present(item)
            elif shard is not None and not shard.takes(item.path):
                continue
            elif isinstance(item, LeftOut):
                work._add_left_out(item)
            elif objects.is_url(item.path):
                work._add_file(item, None)  # its metadata may come later in the listing
            else:
                work._add_file(item, *_judged(item, work._known(item.path)))
        work._judge_objects()
        work._remove_what_is_gone(found)
    except BaseException:
        work.close()
        raise
    return work


def _judged(file: SourceFile, record: FileRecord | None) -> tuple[Outcome, str, str]:
    """Outcome, digest and reason."""
    if record is not None and sources.surely_unchanged(file, record):
        return Outcome.UNCHANGED, record.digest, ""
    if objects.is_url(file.path):
        if record is None:
            return Outcome.ADDED, "", ""
        if not record.digest or file.changed_ns:  # to see whether its bytes are others would be to fetch it twice
            return Outcome.CHANGED, "", ""
    try:
        digest = sources.digest(file)
    except FileNotFoundError:
        return Outcome.SKIPPED, "", "it vanished while the job ran"
    except OSError as error:
        return Outcome.FAILED, "", sources.in_words(error)
    if record is None:
        return Outcome.ADDED, digest, ""
    return (Outcome.UNCHANGED if record.digest == digest else Outcome.CHANGED), digest, ""
