"""jobs.db: one SQLite file, shared by API and workers on one machine or by containers over one volume."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from search_app.errors import QueueUnavailable
from search_app.queue.schema import SCHEMA, VERSION

_BUSY_SECONDS = 10.0


class Database:
    """Opened on first use; safe for any number of threads and processes.

    Raises QueueUnavailable, which names the file, if it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: apsw.Connection | None = None
        self._inode = 0

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[apsw.Connection]:
        """Committed to disk when the block ends without an error."""
        with self._lock:
            try:
                db = self._open()
                db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield db
                    db.execute("COMMIT")
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
            except (apsw.Error, OSError) as error:
                self.close()
                raise unavailable(self.path, error) from error

    def _open(self) -> apsw.Connection:
        if self._connection is not None and self._inode != _inode(self.path):
            self.close()  # the file was removed: nobody else would see jobs written to it
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self.path)
            self._inode = _inode(self.path)
        return self._connection


def unavailable(path: Path, error: Exception) -> QueueUnavailable:
    """The error for a file in the jobs folder that SQLite or the system cannot read or write."""
    if isinstance(error, apsw.FullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        return QueueUnavailable(f"no space left for {path}", hint="free some space, then try again", full=True)
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError, apsw.SchemaChangeError)):
        return QueueUnavailable(
            f"{path} is damaged: {error}", hint="move it away and queue the jobs again; indexes are not affected"
        )
    if isinstance(error, apsw.BusyError):
        return QueueUnavailable(f"{path} is locked by another program", hint="try again")
    reason = error.strerror or error if isinstance(error, OSError) else error
    return QueueUnavailable(
        f"{path} cannot be used: {reason}",
        hint="make its folder writable for API and worker, or set another one: SEARCH_APP_JOBS__FOLDER",
    )


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(int(_BUSY_SECONDS * 1000))
        _use_wal(db)
        db.pragma("synchronous", "full")
        version = db.pragma("user_version")
        if version > VERSION:
            raise QueueUnavailable(f"{path} was written by a newer version of search-app", hint="update search-app")
        if version < VERSION:
            db.execute(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: apsw.Connection) -> None:
    """SQLite's busy timeout does not apply when another process switches the same new file to WAL."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            db.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
