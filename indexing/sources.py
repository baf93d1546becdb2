"""PATHs to files: what is there, what is left out and why, and whether it changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from indexing import objects
from indexing.converters import FORMATS
from indexing.converters.content import ConversionError, plain_meta
from search_app.errors import ConfigurationError
from search_app.protocols import FileRecord
from search_app.types import MetaValue

SIDECAR = ".meta.json"
_MAX_SIDECAR_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file changed this recently may change again within the same tick of the file system's clock."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index: `path` absolute, `source` as given, `sidecar` the `NAME.meta.json` beside it.

    Of an object in a store `path` is the URL, `changed_ns` a fingerprint of its version, 0 where the store names none.
    """

    path: str
    source: str
    format: str
    size: int
    changed_ns: int
    modified_ns: int
    sidecar: str | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that is not indexed, or was not converted whole, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something at an absolute path that is not indexed: left out on purpose, or because it `failed`."""

    path: str
    source: str
    reason: str
    failed: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """An object that is there and is no document of this job; `version` is as `SourceFile.changed_ns`."""

    path: str
    version: int
    is_sidecar: bool


class Scan:
    """A walk over the PATHs, done anew and lazily by each iteration; what two PATHs hold comes twice.

    Files are named as they were given, or relative to `base`.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        base: Path | None = None,
    ) -> None:
        self._paths, self._include, self._exclude, self._base = paths, include, exclude, base
        self._places = [objects.Place(os.fspath(given)) for given in paths if objects.is_url(os.fspath(given))]
        self._roots = {os.path.abspath(given) for given in paths if not objects.is_url(os.fspath(given))}

    def __iter__(self) -> Iterator[SourceFile | LeftOut | Present]:
        if self._base is None:
            return self._found()
        return (
            item if isinstance(item, Present) else replace(item, source=os.path.relpath(item.path, self._base))
            for item in self._found()
        )

    def _found(self) -> Iterator[SourceFile | LeftOut | Present]:
        places = iter(self._places)
        for given in self._paths:
            source = os.fspath(given)
            if objects.is_url(source):
                yield from self._stored(next(places))
            elif os.path.isdir(source):
                for item in _walk(source, self._exclude):
                    if isinstance(item, LeftOut):
                        yield item
                    elif self._wants(item[1]):
                        yield from _looked_at(item[0])
            elif self._wants(os.path.basename(source)):
                yield from _looked_at(source)

    def files(self) -> Iterator[SourceFile]:
        return (item for item in self if isinstance(item, SourceFile))

    def _stored(self, place: objects.Place) -> Iterator[SourceFile | LeftOut | Present]:
        for found in place.objects():
            relative = found.url.removeprefix(place.prefix).lstrip("/") or objects.name_of(found.url)
            if found.url.endswith(SIDECAR) or not self._wants(relative):
                yield Present(found.url, found.version, found.url.endswith(SIDECAR))
            else:
                yield _stored(found, relative)

    def _wants(self, relative: str) -> bool:
        return (not self._include or matches(relative, self._include)) and not matches(relative, self._exclude)

    def covers(self, path: str) -> bool:
        """Is the absolute path, or URL, at or under one of the given PATHs?"""
        if objects.is_url(path):
            return any(place.covers(path) for place in self._places)
        while path not in self._roots:  # upwards: an upload has thousands of PATHs, each of them a file
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent
        return True

    def lost(self, path: str) -> bool:
        """Has what was not found, now that all was gone through, clearly vanished from below the given PATHs?"""
        if any(place.is_certain and place.covers(path) for place in self._places):
            return True  # a listing that was not whole would have ended the job
        return self.covers(path) and has_vanished(path)


def scan(
    paths: Sequence[str | Path],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    base: Path | None = None,
) -> Scan:
    """Walks the PATHs in order of name. Hidden files and folders are left out, links to folders not followed.

    Raises ConfigurationError, before anything else is done, for a PATH that does not exist.
    """
    require(paths)
    return Scan(paths, include, exclude, base)


def require(paths: Sequence[str | Path]) -> None:
    """Raises ConfigurationError for a PATH that does not exist, BackendUnavailable for one that cannot be reached."""
    for given in paths:
        if objects.is_url(os.fspath(given)):
            objects.Place(os.fspath(given)).check()
        elif not os.path.exists(given):
            raise ConfigurationError(
                f"no such file or folder: {given}", hint="nothing was changed; check the PATH and run the command again"
            )


def matches(relative: str, patterns: Sequence[str]) -> bool:
    """Does a glob match the file's name or its path below PATH? `*` crosses folders, `**/` may stand for none."""
    relative = relative.replace(os.sep, "/")
    names = (relative, relative.rsplit("/", 1)[-1])
    for pattern in patterns:
        pattern = pattern.removeprefix("./").rstrip("/")
        shorter = pattern.removeprefix("**/").replace("/**/", "/")
        if any(fnmatchcase(name, form) for name in names for form in (pattern, shorter)):
            return True
    return False


def _walk(root: str, exclude: Sequence[str]) -> Iterator[tuple[str, str] | LeftOut]:
    """Files with their path below `root`, and what is left out."""
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield _left_out(folder, f"the folder cannot be listed: {error.strerror}", failed=True)
            continue
        folders = []
        for entry in entries:
            relative = os.path.relpath(entry.path, root)
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and not matches(relative, exclude):
                    folders.append(entry.path)
            elif entry.name.startswith("."):
                yield _left_out(entry.path, "hidden file")
            else:
                yield entry.path, relative
        pending.extend(reversed(folders))


def refreshed(file: SourceFile) -> SourceFile:
    """The same file as it is now. Raises OSError."""
    if objects.is_url(file.path):
        now = _stored(objects.describe(file.path), "")
        if not isinstance(now, SourceFile):
            raise FileNotFoundError(file.path)
        sidecar = objects.describe(file.sidecar).version if file.sidecar else None
        return replace(with_sidecar(now, file.sidecar, sidecar), source=file.source)
    status = os.stat(file.path)
    return _described(file.path, file.source, file.format, status)


@contextmanager
def local(file: SourceFile, *, folder: Path | None = None) -> Iterator[Path]:
    """Where its bytes are on this machine, while the block lasts: an object's in `folder`. Raises OSError."""
    if not objects.is_url(file.path):
        yield Path(file.path)
        return
    with tempfile.TemporaryDirectory(prefix="object-", dir=folder) as place:
        target = Path(place, "content")
        objects.download(file.path, target)
        yield target


def _described(path: str, source: str, kind: str, status: os.stat_result) -> SourceFile:
    changed = status.st_ctime_ns if os.name == "posix" else status.st_mtime_ns
    return SourceFile(path, source, kind, status.st_size, changed, status.st_mtime_ns, _sidecar_of(path))


def _left_out(source: str, reason: str, *, failed: bool = False, empty: bool = False) -> LeftOut:
    path = os.path.abspath(source)
    return LeftOut(path, source, reason, failed, empty) if _encodable(path) else _unnameable(path, source, reason)


def _unnameable(path: str, source: str, reason: str) -> LeftOut:
    return LeftOut(ascii(path)[1:-1], ascii(source)[1:-1], reason)


def _looked_at(source: str) -> Iterator[SourceFile | LeftOut]:
    """The file as what it is; nothing where it has just gone."""
    path = os.path.abspath(source)
    name = os.path.basename(path)
    if not _encodable(path):
        yield _unnameable(path, source, "its name is not valid UTF-8")
        return
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            yield _left_out(source, "a loop of symbolic links")
        elif os.path.islink(path) and error.errno == errno.ENOENT:
            yield _left_out(source, "a broken symbolic link")
        elif error.errno != errno.ENOENT:
            yield _left_out(source, in_words(error), failed=True)
        return
    kind = FORMATS.get(os.path.splitext(name)[1].lower())
    if stat.S_ISDIR(status.st_mode):
        yield _left_out(source, "a symbolic link to a folder; give the folder itself as a PATH")
    elif not stat.S_ISREG(status.st_mode):
        yield _left_out(source, "not a regular file")
    elif name.endswith(SIDECAR):
        if not any(os.path.exists(owner) for owner in _owners(path)):
            yield _left_out(source, "metadata of a file that is not there")
    elif kind is None:
        yield _left_out(source, _unknown(os.path.splitext(name)[1]))
    elif status.st_size == 0:
        yield _left_out(source, "empty file", empty=True)
    else:
        yield _described(path, source, kind, status)


def _stored(found: objects.Object, relative: str) -> SourceFile | LeftOut:
    name = objects.name_of(found.url)
    ending = os.path.splitext(name)[1].lower()
    if any(part.startswith(".") for part in relative.split("/")):
        return LeftOut(found.url, found.url, "hidden file")
    if ending not in FORMATS:
        return LeftOut(found.url, found.url, _unknown(os.path.splitext(name)[1]))
    if found.size == 0:
        return LeftOut(found.url, found.url, "empty file", empty=True)
    return SourceFile(found.url, found.url, FORMATS[ending], found.size or 0, found.version, found.modified_ns)


def with_sidecar(file: SourceFile, sidecar: str | None, version: int | None) -> SourceFile:
    """An object with the metadata beside it, whose version becomes part of its own."""
    if sidecar is None or version is None:
        return file
    both = hashlib.sha256(f"{file.changed_ns}+{version}".encode()).digest()
    known = file.changed_ns and version
    return replace(file, sidecar=sidecar, changed_ns=int.from_bytes(both[:8]) >> 2 if known else 0)


def _unknown(ending: str) -> str:
    return f"unknown type {ending}" if ending else "unknown type: its name has no ending"


def digest(file: SourceFile, at: Path | None = None) -> str:
    """SHA-256 of the file's bytes, then "+" and that of its sidecar where it has one. Raises OSError.

    `at` is where the bytes are, if they are at hand: an object is downloaded to be read.
    """
    if at is None and objects.is_url(file.path):
        with local(file) as at:
            return digest(file, at)
    with open(at or file.path, "rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    if file.sidecar is None:
        return content
    return f"{content}+{hashlib.sha256(_sidecar_bytes(file.sidecar)).hexdigest()}"


def _sidecar_bytes(path: str) -> bytes:
    """Cut off where it is too large to be read as metadata."""
    if objects.is_url(path):
        return objects.read(path, most=_MAX_SIDECAR_BYTES)
    with open(path, "rb") as stream:
        return stream.read(_MAX_SIDECAR_BYTES + 1)


def record_of(file: SourceFile, content_digest: str, documents: int) -> FileRecord:
    """`modified_ns` keeps the inode's change time, which no program can set back; 0 where it cannot be relied upon."""
    settled = objects.is_url(file.path) or (file.sidecar is None and file.changed_ns < time.time_ns() - _SETTLED_NS)
    return FileRecord(file.path, file.source, content_digest, file.size, file.changed_ns if settled else 0, documents)


def surely_unchanged(file: SourceFile, known: FileRecord) -> bool:
    """Without reading it: same size, and nothing has touched it since it was indexed."""
    return (
        (file.sidecar is None or objects.is_url(file.path))
        and known.modified_ns != 0
        and (known.size, known.modified_ns) == (file.size, file.changed_ns)
    )


def has_vanished(path: str) -> bool:
    """Only a clear "not there" counts: a folder that may not be entered hides its files, it does not delete them."""
    if objects.is_url(path):
        return objects.is_gone(path)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def sidecar_meta(path: str) -> dict[str, MetaValue]:
    """Raises ConversionError where it is not a JSON object."""
    name = os.path.basename(path)
    try:
        content = _sidecar_bytes(path)
        if len(content) > _MAX_SIDECAR_BYTES:
            raise ConversionError(f"{name} is larger than {_MAX_SIDECAR_BYTES >> 20} MB")
        values: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{name} is not JSON: {error}") from error
    except OSError as error:
        raise ConversionError(f"{name}: {in_words(error)}") from error
    if not isinstance(values, Mapping):
        raise ConversionError(f"{name} holds no JSON object")
    return plain_meta(values)


def sidecar_names(path: str) -> tuple[str, str]:
    """Where its metadata may be, the first that is there."""
    return path + SIDECAR, os.path.splitext(path)[0] + SIDECAR


def _sidecar_of(path: str) -> str | None:
    return next((name for name in sidecar_names(path) if os.path.isfile(name)), None)


def _owners(sidecar: str) -> list[str]:
    stem = sidecar.removesuffix(SIDECAR)
    return [stem, *(stem + ending for ending in FORMATS)]


def _encodable(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def in_words(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return error.strerror or str(error)
