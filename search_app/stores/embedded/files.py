"""Every file operation of ours on an index folder; SQLite does its own.

A file appears whole or not at all: it is written under a temporary name, synced, renamed, and its folder synced. A sync
that failed is never tried again, since the second one may report success for what is lost.
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
    """The name under which a file is written before it gets its own."""
    return path.with_name(path.name + TEMPORARY)


class Files:
    """Whole files; the second half are the operations underneath, each a method, so that one can be made to fail.

    Errors are SearchAppErrors that name the path.
    """

    def write(self, path: Path, parts: Sequence[Data]) -> None:
        """The file's whole content, in parts; what lay there before is replaced at once or, with an error, kept."""
        self.write_stream(path, parts, sum(memoryview(part).nbytes for part in parts))

    def write_stream(self, path: Path, parts: Iterable[Data], size: int) -> None:
        """The same for more than is held at once; `size` bytes in all."""
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
        """Both names are in one folder or in two; `source` was synced by whoever wrote it, or is a folder."""
        with self.translated(target):
            self.rename(source, target)
            self.sync_folder(target.parent)
            if source.parent != target.parent:
                self.sync_folder(source.parent)

    def sync(self, path: Path) -> None:
        """For a file that SQLite wrote."""
        with self.translated(path):
            descriptor = self.open(path)
            try:
                self.sync_file(descriptor, path)
            finally:
                self.close_file(descriptor, path)

    def remove(self, path: Path) -> None:
        """A file that is not there is as good."""
        with self.translated(path), suppress(FileNotFoundError):
            self.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Delete a folder and everything in it. It may be missing, or be deleted by another process meanwhile."""
        with self.translated(path), suppress(FileNotFoundError):
            for entry in sorted(path.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    self.remove_folder(entry)
                else:
                    self.remove(entry)
            self.unmake(path)

    def make_folder(self, path: Path) -> None:
        """With the folders above it."""
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        with self.translated(path):
            for folder in reversed(missing):
                try:
                    self.make(folder)
                except FileExistsError:  # another process was quicker
                    if not folder.is_dir():
                        raise
                self.sync_folder(folder.parent)

    def read(self, path: Path) -> bytes:
        return b"".join(self.chunks(path))

    def chunks(self, path: Path) -> Iterator[bytes]:
        """All of it, some megabytes at a time."""
        with self.translated(path, reading=True):
            yield from self._chunks(path)

    def sha256(self, path: Path) -> str:
        found = hashlib.sha256()
        for chunk in self.chunks(path):
            found.update(chunk)
        return found.hexdigest()

    def clear(self, folder: Path) -> None:
        """Removes what a killed job had not finished."""
        with self.translated(folder):
            for path in sorted(folder.iterdir()):
                if path.suffix.partition("-")[0] == TEMPORARY and path.is_file():  # SQLite's own are .new-wal
                    self.unlink(path)

    @contextmanager
    def translated(self, path: Path, *, needed: int = 0, reading: bool = False) -> Iterator[None]:
        """OSErrors in this program's words; `needed` are the bytes that were to be written."""
        try:
            yield
        except OSError as error:
            raise _in_words(error, path, needed, reading) from error

    def _write_all(self, descriptor: int, part: Data, path: Path) -> None:
        rest = memoryview(part).cast("B")
        while rest:
            rest = rest[self.append(descriptor, rest[:_CHUNK], path) :]

    def _chunks(self, path: Path) -> Iterator[bytes]:
        descriptor = self.open(path)
        try:
            while chunk := self.load(descriptor, _CHUNK, path):
                yield chunk
        finally:
            self.close_file(descriptor, path)

    # One system call each.

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def append(self, descriptor: int, data: Data, path: Path) -> int:
        """Bytes that were taken, as `write` has it."""
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


def _in_words(error: OSError, path: Path, needed: int, reading: bool) -> SearchAppError:
    if error.errno in _FULL:
        size = f": {needed:,} bytes were needed" if needed else ""
        return SearchAppError(
            f"no space left for {path}{size}", hint="free some space and run it again; what was committed is kept"
        )
    done = "read" if reading else "written"
    if error.errno in _FORBIDDEN:
        return ConfigurationError(f"{path} cannot be {done}", hint="check the folder's permissions")
    if reading and error.errno in (errno.ENOENT, errno.EIO):
        return IndexCorrupt(f"{path} cannot be read: {error.strerror}", hint="run: search-index verify --repair")
    hint = "raise the limit of open files" if error.errno == errno.EMFILE else "check the disk, then run it again"
    return SearchAppError(f"{path} cannot be {done}: {error.strerror or error}", hint=hint)
