"""Connections to an index file: page checksums on, and SQLite's errors in this program's words."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import apsw.sqlite_extra

from search_app.errors import ConfigurationError, IndexBusy, IndexCorrupt, IndexUnavailable, SearchAppError

_VFS = "cksmvfs"
_BUSY_MS = 10_000


def connect_writing(path: Path) -> apsw.Connection:
    """Creates the file where there is none. WAL, every commit on the disk before it is reported."""
    _load_checksums()
    with translated(path):
        new = not path.exists()
        db = apsw.Connection(str(path), vfs=_VFS)
        db.set_busy_timeout(_BUSY_MS)
        if new:
            db.reserve_bytes(reserve=8)  # where the checksum of each page lives
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("foreign_keys", True)
        if not new:
            _require_checksums(db, path)
    return db


def connect_reading(path: Path) -> apsw.Connection:
    """For a folder that may not be written too, where SQLite cannot make the shared memory that WAL needs."""
    _load_checksums()
    with translated(path):
        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
            db = apsw.Connection(str(path), vfs=_VFS, flags=apsw.SQLITE_OPEN_READWRITE)
            db.set_busy_timeout(_BUSY_MS)
            db.pragma("query_only", True)
        else:
            db = _connect_read_only(path)
        _require_checksums(db, path)
    return db


def rows(db: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query: a list of tuples, or of values where the query has one column."""
    found = db.execute(sql, tuple(parameters)).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's exceptions as SearchAppErrors that name the file and the next step."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE:
            raise SearchAppError(f"cannot write {path}: {error}", hint="check the disk, then run it again") from error
        raise IndexCorrupt(
            f"{path} is damaged: {error}", hint="run: search-index verify, then search-index apply --rebuild PATH"
        ) from error
    except apsw.FullError as error:
        raise SearchAppError(
            f"no space left for {path}", hint="free some space and run it again; what was committed is kept"
        ) from error
    except apsw.BusyError as error:
        raise IndexBusy(f"{path} is locked by another program", hint="wait until it ends and run it again") from error
    except (apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise ConfigurationError(f"{path} cannot be written", hint="check the folder's permissions") from error
    except apsw.CantOpenError as error:
        raise IndexUnavailable(f"{path} cannot be opened: {error}", hint="check that it exists and may be read") from (
            error
        )


def _connect_read_only(path: Path) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), vfs=_VFS, flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(_BUSY_MS)
        db.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise IndexUnavailable(
                f"{path.parent} is read-only and holds changes that are not folded into the index yet",
                hint="run once from where it may be written: search-index info",
            ) from error
        # Nobody can write here, so nothing can change under the reader.
        uri = f"{path.resolve().as_uri()}?immutable=1"
        db = apsw.Connection(uri, vfs=_VFS, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return db


@functools.cache
def _load_checksums() -> None:
    apsw.sqlite_extra.load(apsw.Connection(":memory:"), "cksumvfs")


def _require_checksums(db: apsw.Connection, path: Path) -> None:
    _require_length(path)
    db.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # reads the header, without which there is no answer
    if not db.pragma("checksum_verification"):
        raise IndexCorrupt(f"{path} has no page checksums: it is not an index of this program", hint="remove the file")


def _require_length(path: Path) -> None:
    """SQLite reads a page that is cut off as if zeros followed, and no checksum is looked at."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return  # a checkpoint may be on its way
    with path.open("rb") as file:
        header = file.read(32)
    size = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if size == 1 else size)
    if path.stat().st_size < max(expected, 512):
        raise IndexCorrupt(f"{path} is cut off", hint="run: search-index apply --rebuild PATH")
