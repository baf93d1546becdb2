"""Untrusted uploads: names and zip files are checked before a file is written."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import io
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from indexing.sources import Skip
from search_app.queue.staging import UploadError, printable, safe_name

_BLOCK = 1 << 20
_MIN_RATIO_BYTES = 1 << 20
"""The ratio is checked above this size only: a small table of zeros is harmless."""
_DIRECTORY_BYTES = 1024
"""Limit of a zip's central directory per allowed file; zipfile reads all of it into memory."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Other methods allocate as much memory as the file asks for."""


@dataclass(slots=True)
class Budget:
    """What zip files may still unpack: files, bytes; and the largest ratio of a member's size to its packed size."""

    files: int
    bytes: int
    ratio: int


@dataclass(frozen=True, slots=True)
class Member:
    """An unpacked file: its checked `name`, and the unrelated `path` of its content."""

    name: str
    path: Path


@dataclass(slots=True)
class Unpacked:
    """The unpacked members of a zip file, and those that were skipped."""

    members: list[Member] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)


def fold_case(name: str) -> str:
    """The name without case, which some file systems ignore."""
    return unicodedata.normalize("NFC", name.casefold())


class TakenNames:
    """File names of an upload. Repeated names, ignoring case, and files named like a folder are refused."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, name: str) -> None:
        self.check(name)
        name = fold_case(name)
        self._files.add(name)
        self._folders.update(_parents(name))

    def check(self, name: str) -> None:
        name = fold_case(name)
        if name in self._files:
            raise UploadError("another file has the same name, ignoring case")
        if name in self._folders or any(parent in self._files for parent in _parents(name)):
            raise UploadError("a file and a folder have the same name")


def unpack(
    archive: Path, folder: Path, *, budget: Budget, taken: TakenNames, skip_reason: Callable[[str], str | None]
) -> Unpacked:
    """Unpack the members without a `skip_reason` into the new `folder`.

    Sizes are counted while unpacking; those in the zip's directory are not trusted. Raises UploadError, and then leaves
    no file.
    """
    folder.mkdir(parents=True)
    try:
        with _zip_errors(), _BoundedReader(archive, budget) as stream, zipfile.ZipFile(stream) as bundle:
            wanted, unpacked = _select(bundle.infolist(), skip_reason)
            for _, name in wanted:
                with _naming(name):
                    taken.check(name)
            if len(wanted) > budget.files:
                raise UploadError(f"it has {len(wanted)} files; this upload may have {budget.files} more")
            if sum(info.compress_size for info, _ in wanted) > archive.stat().st_size:
                raise UploadError("its members overlap")
            left = budget.bytes
            for number, (info, name) in enumerate(wanted):
                path = folder / str(number)
                with _naming(name):
                    left -= _write(bundle, info, path, left=left, budget=budget)
                unpacked.members.append(Member(name, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for member in unpacked.members:
        taken.take(member.name)
    budget.files -= len(unpacked.members)
    budget.bytes = left
    return unpacked


def _select(
    infos: Sequence[zipfile.ZipInfo], skip_reason: Callable[[str], str | None]
) -> tuple[list[tuple[zipfile.ZipInfo, str]], Unpacked]:
    """The members to unpack. Every member is checked, those to skip too."""
    selected: list[tuple[zipfile.ZipInfo, str]] = []
    result = Unpacked()
    names = TakenNames()
    for info in infos:
        with _naming(info.orig_filename):
            is_folder = info.orig_filename.endswith(("/", "\\"))
            if is_folder and not info.orig_filename.strip("./\\"):
                continue
            name = safe_name(info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UploadError("it is a link" if kind == stat.S_IFLNK else "it is not a regular file")
            if is_folder or kind == stat.S_IFDIR:
                continue
            names.take(name)
            if reason := skip_reason(name):
                result.skipped.append(Skip(name, reason))
                continue
            if info.flag_bits & 0x1:
                raise UploadError("it is encrypted")
            if info.compress_type not in _METHODS:
                raise UploadError("its compression method is not deflate")
            selected.append((info, name))
    return selected, result


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, *, left: int, budget: Budget) -> int:
    """Returns the number of bytes written."""
    written = 0
    with bundle.open(info) as packed, path.open("xb") as file:
        while block := packed.read(_BLOCK):
            written += len(block)
            if written > _MIN_RATIO_BYTES and written > budget.ratio * max(1, info.compress_size):
                raise UploadError(f"it unpacks to more than {budget.ratio} times its size, like a zip bomb")
            if written > left:
                raise UploadError(f"the upload unpacks to more than the {budget.bytes >> 20} MiB left")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(ValueError, OverflowError):  # not a valid date
        modified = dt.datetime(*info.date_time).timestamp()
        os.utime(path, (modified, modified))
    return written


class _BoundedReader(io.FileIO):
    """Refuses to read a central directory that is too large for memory; zipfile reads it at once."""

    def __init__(self, path: Path, budget: Budget) -> None:
        super().__init__(path, "rb")
        self._limit = max(_BLOCK, _DIRECTORY_BYTES * budget.files)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._limit:
            raise UploadError("its central directory is too large")
        return super().read(size) or b""


@contextmanager
def _zip_errors() -> Iterator[None]:
    """UploadError for the errors of zipfile."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:  # seek to a negative offset
            raise
        raise UploadError("the zip file is damaged") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise UploadError(f"the zip file is damaged: {error}" if str(error) else "the zip file is damaged") from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        with _zip_errors():
            yield
    except UploadError as error:
        raise UploadError(f"{printable(name)}: {error}") from error


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
