"""File operations on an index folder, except SQLite's own.

Files are written atomically: under a temporary name, synced, renamed, and the folder synced. A failed sync is never
repeated, since the second one may report success for data that is lost.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from search_app.errors import ConfigurationError, IndexCorrupt, SearchAppError

TEMPORARY = ".new"
Data = bytes | memoryview
_CHUNK = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def temporary(path: Path) -> Path:
    """The temporary name that a file is written under."""
    return path.with_name(path.name + TEMPORARY)


class Files:
    """Operations on whole files. System calls are methods, so that tests can make each one fail.

    Raises SearchAppErrors that name the path.
    """

    def write(self, path: Path, parts: Sequence[Data]) -> None:
        """Replace the file's content atomically; on an error the old content stays."""
        self.write_stream(path, parts, sum(memoryview(part).nbytes for part in parts))

    def write_stream(self, path: Path, parts: Iterable[Data], size: int) -> None:
        """The same for content of `size` bytes that is too large for memory."""
        unfinished = temporary(path)
        with self.translated(path, needed=size):
            try:
                descriptor = self.create(unfinished)
                try:
                    for part in parts:
                        self._write_all(descriptor, part, unfinished)
                    self.sync_file(descriptor, unfinished)
                finally:
                    self.close_file(descriptor, unfinished)
                self.rename(unfinished, path)
                self.sync_folder(path.parent)
            except Exception:
                with suppress(OSError):
                    self.unlink(unfinished)
                raise

    def copy(self, source: Path, target: Path) -> None:
        with self.translated(source, reading=True):
            size = source.stat().st_size
        self.write_stream(target, self._chunks(source), size)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a folder or a synced file, in one folder or across two."""
        with self.translated(target):
            self.rename(source, target)
            self.sync_folder(target.parent)
            if source.parent != target.parent:
                self.sync_folder(source.parent)

    def sync(self, path: Path) -> None:
        """Sync a file that SQLite wrote."""
        with self.translated(path):
            descriptor = self.open(path)
            try:
                self.sync_file(descriptor, path)
            finally:
                self.close_file(descriptor, path)

    def remove(self, path: Path) -> None:
        """Delete a file; a missing one is no error."""
        with self.translated(path), suppress(FileNotFoundError):
            self.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Delete a folder with its content; it may be missing or be deleted by another process meanwhile."""
        with self.translated(path), suppress(FileNotFoundError):
            for entry in sorted(path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    self.remove_folder(entry)
                else:
                    self.remove(entry)
            self.unmake(path)

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents."""
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        with self.translated(path):
            for folder in reversed(missing):
                try:
                    self.make(folder)
                except FileExistsError:  # another process created it first
                    if not folder.is_dir():
                        raise
                self.sync_folder(folder.parent)

    def read(self, path: Path) -> bytes:
        return b"".join(self.blocks(path))

    def blocks(self, path: Path) -> Iterator[bytes]:
        """The content, a few megabytes at a time."""
        with self.translated(path, reading=True):
            yield from self._chunks(path)

    def sha256(self, path: Path) -> str:
        found = hashlib.sha256()
        for block in self.blocks(path):
            found.update(block)
        return found.hexdigest()

    def clear(self, folder: Path) -> None:
        """Delete temporary files that a killed job left."""
        with self.translated(folder):
            for path in sorted(folder.iterdir()):
                if path.suffix.partition("-")[0] == TEMPORARY and path.is_file():  # SQLite adds .new-wal
                    self.unlink(path)

    @contextmanager
    def translated(self, path: Path, *, needed: int = 0, reading: bool = False) -> Iterator[None]:
        """Translate OSErrors to SearchAppErrors; `needed`: bytes that were to be written."""
        try:
            yield
        except OSError as error:
            raise _translated(error, path, needed, reading) from error

    def _write_all(self, descriptor: int, part: Data, path: Path) -> None:
        rest = memoryview(part).cast("B")
        while rest:
            rest = rest[self.append(descriptor, rest[:_CHUNK], path) :]

    def _chunks(self, path: Path) -> Iterator[bytes]:
        descriptor = self.open(path)
        try:
            while block := self.load(descriptor, _CHUNK, path):
                yield block
        finally:
            self.close_file(descriptor, path)

    # --- one system call each

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def append(self, descriptor: int, data: Data, path: Path) -> int:
        """The number of bytes written, as for `os.write`."""
        return os.write(descriptor, data)

    def load(self, descriptor: int, size: int, path: Path) -> bytes:
        return os.read(descriptor, size)

    def sync_file(self, descriptor: int, path: Path) -> None:
        os.fsync(descriptor)

    def close_file(self, descriptor: int, path: Path) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def make(self, path: Path) -> None:
        os.mkdir(path)

    def unmake(self, path: Path) -> None:
        os.rmdir(path)

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _translated(error: OSError, path: Path, needed: int, reading: bool) -> SearchAppError:
    if error.errno in _FULL:
        size = f": {needed:,} bytes were needed" if needed else ""
        return SearchAppError(
            f"no space left for {path}{size}", hint="free some space and run it again; committed data is kept"
        )
    done = "read" if reading else "written"
    if error.errno in _FORBIDDEN:
        return ConfigurationError(f"{path} cannot be {done}", hint="check the folder's permissions")
    if reading and error.errno in (errno.ENOENT, errno.EIO):
        return IndexCorrupt(f"{path} cannot be read: {error.strerror}")
    hint = "raise the limit of open files" if error.errno == errno.EMFILE else "check the disk, then run it again"
    return SearchAppError(f"{path} cannot be {done}: {error.strerror or error}", hint=hint)
