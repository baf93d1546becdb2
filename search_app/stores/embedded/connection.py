"""Connections to an index file, with page checksums and SQLite's errors translated.

The write-ahead log (-wal) and the shared memory (-shm) stay when the last connection closes: SQLite needs both to read
from a read-only mount while a process elsewhere writes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, LifoQueue
from typing import Any

import apsw
import apsw.sqlite_extra

from search_app.errors import (
    ConfigurationError,
    IndexBusy,
    IndexCorrupt,
    IndexNotFound,
    IndexUnavailable,
    SearchAppError,
)

_VFS = "cksmvfs"
_BUSY_MS = 10_000
_LOG_BYTES = 64 << 20
"""Size that the write-ahead log is cut to after a large transaction."""
_RECOVERY_S = 1.0
_FILES = ("", "-wal", "-shm")
_IDLE = 8
_CACHE_KIB = 32 << 10
"""Enough for the inner pages of a million passages and vectors: a lookup then reads one or two pages."""
_WRITES = frozenset(
    {
        apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC, apsw.SQLITE_IOERR_TRUNCATE,
        apsw.SQLITE_IOERR_DELETE, apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMOPEN, apsw.SQLITE_IOERR_CLOSE,
    }
)  # fmt: skip

Signature = tuple[tuple[int, int, int] | None, ...]


def connect_writing(path: Path) -> apsw.Connection:
    """Open or create an index file in WAL mode; every commit is synced before it returns."""
    _load_checksums()
    with translated(path):
        new = not path.exists()
        db = apsw.Connection(str(path), vfs=_VFS)
        db.set_busy_timeout(_BUSY_MS)
        if new:
            db.reserve_bytes(reserve=8)  # for the checksum of each page
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        _keep_log(db)
        db.pragma("foreign_keys", True)
        if not new:
            _require_checksums(db, path)
    return db


def connect_reading(path: Path) -> apsw.Connection:
    """Open an index file, also in a read-only folder, where SQLite cannot create the shared memory that WAL needs.

    Raises IndexNotFound without a file.
    """
    _load_checksums()
    if not path.exists():
        raise IndexNotFound(path.parent.name)  # dropped or renamed since the collection was opened
    with translated(path):
        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
            db = apsw.Connection(str(path), vfs=_VFS, flags=apsw.SQLITE_OPEN_READWRITE)
            db.set_busy_timeout(_BUSY_MS)
            _keep_log(db)
            db.pragma("query_only", True)
        else:
            db = _connect_read_only(path)
        _require_checksums(db, path)
        db.pragma("cache_size", -_CACHE_KIB)
    return db


class Reader:
    """A connection for one thread at a time, reopened when another file has taken the index's name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: apsw.Connection | None = None
        self._signature: Signature = ()
        self._inode = 0

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """A connection whose view of the index is fixed by its first SELECT."""
        with translated(self._path):
            db = self._begin()
            try:
                yield db
            except (apsw.Error, IndexCorrupt):
                self.require_unchanged()  # a change may look like damage
                raise
            finally:
                db.execute("ROLLBACK")
            self.require_unchanged()

    def require_unchanged(self) -> None:
        """Raises IndexBusy if the file was opened as immutable and has changed since."""
        if self._signature and self._signature != _signature(self._path):
            raise IndexBusy(f"{self._path} was changed while it was read", hint="ask again")

    def close(self) -> None:
        db, self._db, self._signature = self._db, None, ()
        if db is not None:
            db.close()

    def _begin(self) -> apsw.Connection:
        deadline = time.monotonic() + _RECOVERY_S
        while True:
            try:
                db = self._open()
                db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                db.execute("BEGIN")
                return db
            except apsw.ReadOnlyError as error:
                # A writer is creating the shared memory, or was killed while it did.
                self.close()
                if time.monotonic() > deadline:
                    raise IndexBusy(
                        f"{self._path} needs recovery after a killed writer",
                        hint="run with write access: search-index info",
                    ) from error
            time.sleep(0.005)

    def _open(self) -> apsw.Connection:
        if self._db is not None and self._inode != _inode(self._path):
            self.close()  # replaced by another file
        if self._signature and self._signature != _signature(self._path):
            self.close()
        if self._db is None:
            before, self._inode = _signature(self._path), _inode(self._path)
            self._db = connect_reading(self._path)
            self._signature = before if self._db.open_flags & apsw.SQLITE_OPEN_URI else ()
        return self._db


class Readers:
    """A pool of connections, one per concurrent reader; the most recently used one is reused first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: LifoQueue[Reader] = LifoQueue(_IDLE)
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[Reader]:
        try:
            reader = self._idle.get_nowait()
        except Empty:
            reader = Reader(self._path)
        try:
            yield reader
        except IndexBusy:
            # SQLite cannot recover from a killed writer while one of them is open.
            reader.close()
            self._close_idle()
            raise
        finally:
            try:
                self._idle.put_nowait(reader)
            except Full:
                reader.close()
            if self._closed:
                self._close_idle()

    def close(self) -> None:
        """Close idle connections now, and others when they are returned."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()


def rows(db: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query as tuples, or as values if it has one column."""
    found = db.execute(sql, tuple(parameters)).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate SQLite's exceptions to SearchAppErrors that name the file and the next step."""
    try:
        with _unmasked():
            yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        if getattr(error, "extendedresult", 0) in _WRITES:
            raise SearchAppError(f"cannot write {path}: {error}", hint="check the disk, then run it again") from error
        raise IndexCorrupt(f"{path} is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise IndexCorrupt(f"{path} is damaged: it contains invalid text") from error
    except apsw.FullError as error:
        raise SearchAppError(
            f"no space left for {path}", hint="free some space and run it again; committed data is kept"
        ) from error
    except apsw.BusyError as error:
        raise IndexBusy(f"{path} is locked by another program", hint="wait until it ends and run it again") from error
    except (apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise ConfigurationError(f"{path} cannot be written", hint="check the folder's permissions") from error
    except apsw.CantOpenError as error:
        raise IndexUnavailable(f"{path} cannot be opened: {error}", hint="check that it exists and may be read") from (
            error
        )


@contextmanager
def _unmasked() -> Iterator[None]:
    """Raise the error that ended a transaction rather than the failure of its rollback."""
    try:
        yield
    except apsw.SQLError as error:
        if isinstance(error.__context__, apsw.Error):
            raise error.__context__ from None
        raise


def _connect_read_only(path: Path) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), vfs=_VFS, flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(_BUSY_MS)
        db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise IndexUnavailable(
                f"{path.parent} is read-only and its write-ahead log is not merged yet",
                hint="run once with write access: search-index info",
            ) from error
        # SQLite no longer looks for changes, so `Reader` does.
        uri = f"{path.resolve().as_uri()}?immutable=1"
        db = apsw.Connection(uri, vfs=_VFS, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db


def _keep_log(db: apsw.Connection) -> None:
    on = ctypes.c_int(1)
    db.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(on))
    db.pragma("journal_size_limit", _LOG_BYTES)


def _signature(path: Path) -> Signature:
    return tuple(_stat(path.with_name(path.name + suffix)) for suffix in _FILES)


def _inode(path: Path) -> int:
    found = _stat(path)
    return found[0] if found else 0


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@functools.cache
def _load_checksums() -> None:
    apsw.sqlite_extra.load(apsw.Connection(":memory:"), "cksumvfs")


def _require_checksums(db: apsw.Connection, path: Path) -> None:
    _require_length(path)
    db.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # reads the header, which the next line needs
    if not db.pragma("checksum_verification"):
        raise IndexCorrupt(f"{path} has no page checksums: this program did not write it", hint="remove the file")


def _require_length(path: Path) -> None:
    """SQLite reads missing pages at the end of a file as zeros, without checking their checksums."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return  # a checkpoint may be running
    try:
        with path.open("rb") as file:
            header = file.read(32)
    except OSError as error:
        raise IndexUnavailable(f"{path} cannot be read: {error.strerror}", hint="check that it may be read") from error
    size = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if size == 1 else size)
    if path.stat().st_size < max(expected, 512):
        raise IndexCorrupt(f"{path} is truncated")
