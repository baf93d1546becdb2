"""Find the files under PATHs: which to index, which to skip and why, and whether one has changed."""

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

from indexing import object_stores
from indexing.converters.content import ConversionError, plain_meta
from indexing.formats import BY_NAME, FORMATS, format_of, why_unknown
from search_app.errors import ConfigurationError
from search_app.protocols import FileRecord
from search_app.types import MetaValue

SIDECAR = ".meta.json"
_MAX_SIDECAR_BYTES = 1 << 20
_CLOCK_TICK_NS = 2_000_000_000
"""A file changed this recently may change again without a change of its time."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index: `path` is absolute, `source` as given, `sidecar` the `NAME.meta.json` beside it.

    For an object in a store, `path` is its URL and `changed_ns` a fingerprint of its version, 0 if the store has none.
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
    """A file that is not indexed, or only in part, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file or folder that is not indexed: skipped on purpose, or because reading it `failed`."""

    path: str
    source: str
    reason: str
    failed: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True)
class OtherObject:
    """An object that exists and is no document of this job; `version` is like `SourceFile.changed_ns`."""

    path: str
    version: int
    is_sidecar: bool


class Scan:
    """A lazy walk over the PATHs, repeated by each iteration. A file under two PATHs comes twice.

    Files are named as given, or relative to `base`.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        base: Path | None = None,
    ) -> None:
        self._paths, self._include, self._exclude, self._base = paths, include, exclude, base
        self._locations = [
            object_stores.Location(os.fspath(given)) for given in paths if object_stores.is_url(os.fspath(given))
        ]
        self._roots = {os.path.abspath(given) for given in paths if not object_stores.is_url(os.fspath(given))}

    def __iter__(self) -> Iterator[SourceFile | SkippedFile | OtherObject]:
        if self._base is None:
            return self._found()
        return (
            item if isinstance(item, OtherObject) else replace(item, source=os.path.relpath(item.path, self._base))
            for item in self._found()
        )

    def _found(self) -> Iterator[SourceFile | SkippedFile | OtherObject]:
        locations = iter(self._locations)
        for given in self._paths:
            source = os.fspath(given)
            if object_stores.is_url(source):
                yield from self._stored(next(locations))
            elif os.path.isdir(source):
                for item in _walk(source, self._exclude):
                    if isinstance(item, SkippedFile):
                        yield item
                    elif self._wants(item[1]):
                        yield from _inspected(item[0])
            elif self._wants(os.path.basename(source)):
                yield from _inspected(source)

    def files(self) -> Iterator[SourceFile]:
        return (item for item in self if isinstance(item, SourceFile))

    def _stored(self, location: object_stores.Location) -> Iterator[SourceFile | SkippedFile | OtherObject]:
        for found in location.objects():
            relative = found.url.removeprefix(location.prefix).lstrip("/") or object_stores.name_of(found.url)
            if found.url.endswith(SIDECAR) or not self._wants(relative):
                yield OtherObject(found.url, found.version, found.url.endswith(SIDECAR))
            else:
                yield _stored(found, relative)

    def _wants(self, relative: str) -> bool:
        return (not self._include or matches(relative, self._include)) and not matches(relative, self._exclude)

    def covers(self, path: str) -> bool:
        """Whether the absolute path or URL is one of the PATHs or under one."""
        if object_stores.is_url(path):
            return any(location.covers(path) for location in self._locations)
        while path not in self._roots:  # upwards, as an upload has thousands of PATHs, each a file
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent
        return True

    def is_deleted(self, path: str) -> bool:
        """Whether a file under the PATHs that the walk did not find has certainly been deleted."""
        if any(location.is_certain and location.covers(path) for location in self._locations):
            return True  # an incomplete listing would have ended the job
        return self.covers(path) and has_vanished(path)


def scan(
    paths: Sequence[str | Path],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    base: Path | None = None,
) -> Scan:
    """Walk the PATHs in order of name. Skips hidden files and folders, and does not follow links to folders.

    Raises ConfigurationError at once for a PATH that does not exist.
    """
    require(paths)
    return Scan(paths, include, exclude, base)


def require(paths: Sequence[str | Path]) -> None:
    """Raise ConfigurationError for a PATH that does not exist, BackendUnavailable if its server does not answer."""
    for given in paths:
        if object_stores.is_url(os.fspath(given)):
            object_stores.Location(os.fspath(given)).check()
        elif not os.path.exists(given):
            raise ConfigurationError(
                f"no such file or folder: {given}", hint="nothing was changed; check the PATH and try again"
            )


def matches(relative: str, patterns: Sequence[str]) -> bool:
    """Whether a glob matches the file's name or its path below PATH. `*` crosses folders, `**/` matches none too."""
    relative = relative.replace(os.sep, "/")
    names = (relative, relative.rsplit("/", 1)[-1])
    for pattern in patterns:
        pattern = pattern.removeprefix("./").rstrip("/")
        shorter = pattern.removeprefix("**/").replace("/**/", "/")
        if any(fnmatchcase(name, form) for name in names for form in (pattern, shorter)):
            return True
    return False


def _walk(root: str, exclude: Sequence[str]) -> Iterator[tuple[str, str] | SkippedFile]:
    """Files with their path below `root`, and what is skipped."""
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield _skipped(folder, f"the folder cannot be listed: {error.strerror}", failed=True)
            continue
        folders = []
        for entry in entries:
            relative = os.path.relpath(entry.path, root)
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and not matches(relative, exclude):
                    folders.append(entry.path)
            elif entry.name.startswith("."):
                yield _skipped(entry.path, "hidden file")
            else:
                yield entry.path, relative
        pending.extend(reversed(folders))


def refreshed(file: SourceFile) -> SourceFile:
    """Describe the file as it is now. Raises OSError."""
    if object_stores.is_url(file.path):
        now = _stored(object_stores.describe(file.path), "")
        if not isinstance(now, SourceFile):
            raise FileNotFoundError(file.path)
        sidecar = object_stores.describe(file.sidecar).version if file.sidecar else None
        return replace(with_sidecar(now, file.sidecar, sidecar), source=file.source)
    status = os.stat(file.path)
    return _described(file.path, file.source, file.format, status)


@contextmanager
def local(file: SourceFile, *, folder: Path | None = None) -> Iterator[Path]:
    """A local path of the file's bytes; an object is downloaded to `folder` and deleted on exit. Raises OSError."""
    if not object_stores.is_url(file.path):
        yield Path(file.path)
        return
    with tempfile.TemporaryDirectory(prefix="object-", dir=folder) as temporary:
        target = Path(temporary, "content" + os.path.splitext(object_stores.name_of(file.path))[1])
        object_stores.download(file.path, target)
        yield target


def charset_of(file: SourceFile, stated: Mapping[str, MetaValue]) -> str:
    """The encoding of a text as `charset` of its metadata file or its server states it, or "". Raises OSError."""
    if not BY_NAME[file.format].text:
        return ""
    if "charset" in stated or not object_stores.is_url(file.path):
        return str(stated.get("charset", ""))
    return object_stores.charset_of(file.path)


def _described(path: str, source: str, kind: str, status: os.stat_result) -> SourceFile:
    changed = status.st_ctime_ns if os.name == "posix" else status.st_mtime_ns
    return SourceFile(path, source, kind, status.st_size, changed, status.st_mtime_ns, _sidecar_of(path))


def _skipped(source: str, reason: str, *, failed: bool = False, empty: bool = False) -> SkippedFile:
    path = os.path.abspath(source)
    return SkippedFile(path, source, reason, failed, empty) if _encodable(path) else _unnameable(path, source, reason)


def _unnameable(path: str, source: str, reason: str) -> SkippedFile:
    return SkippedFile(ascii(path)[1:-1], ascii(source)[1:-1], reason)


def _inspected(source: str) -> Iterator[SourceFile | SkippedFile]:
    """The file, or why it is skipped; nothing if it has just been deleted."""
    path = os.path.abspath(source)
    name = os.path.basename(path)
    if not _encodable(path):
        yield _unnameable(path, source, "its name is not valid UTF-8")
        return
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            yield _skipped(source, "a loop of symbolic links")
        elif os.path.islink(path) and error.errno == errno.ENOENT:
            yield _skipped(source, "a broken symbolic link")
        elif error.errno != errno.ENOENT:
            yield _skipped(source, reason_of(error), failed=True)
        return
    kind = format_of(name)
    if stat.S_ISDIR(status.st_mode):
        yield _skipped(source, "a symbolic link to a folder; give the folder itself as a PATH")
    elif not stat.S_ISREG(status.st_mode):
        yield _skipped(source, "not a regular file")
    elif name.endswith(SIDECAR):
        if not any(os.path.exists(owner) for owner in _owners(path)):
            yield _skipped(source, "metadata of a file that does not exist")
    elif kind is None:
        yield _skipped(source, why_unknown(name))
    elif status.st_size == 0:
        yield _skipped(source, "empty file", empty=True)
    else:
        yield _described(path, source, kind, status)


def _stored(found: object_stores.Object, relative: str) -> SourceFile | SkippedFile:
    name = object_stores.name_of(found.url)
    kind = format_of(name)
    if any(part.startswith(".") for part in relative.split("/")):
        return SkippedFile(found.url, found.url, "hidden file")
    if kind is None:
        return SkippedFile(found.url, found.url, why_unknown(name))
    if found.size == 0:
        return SkippedFile(found.url, found.url, "empty file", empty=True)
    return SourceFile(found.url, found.url, kind, found.size or 0, found.version, found.modified_ns)


def with_sidecar(file: SourceFile, sidecar: str | None, version: int | None) -> SourceFile:
    """Add a sidecar to an object; the sidecar's version becomes part of the object's."""
    if sidecar is None or version is None:
        return file
    both = hashlib.sha256(f"{file.changed_ns}+{version}".encode()).digest()
    known = file.changed_ns and version
    return replace(file, sidecar=sidecar, changed_ns=int.from_bytes(both[:8]) >> 2 if known else 0)


def digest(file: SourceFile, at: Path | None = None) -> str:
    """SHA-256 of the file's bytes, followed by "+" and that of its sidecar if it has one. Raises OSError.

    `at` is a local copy; without one, an object is downloaded.
    """
    if at is None and object_stores.is_url(file.path):
        with local(file) as at:
            return digest(file, at)
    with open(at or file.path, "rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    if file.sidecar is None:
        return content
    return f"{content}+{hashlib.sha256(_sidecar_bytes(file.sidecar)).hexdigest()}"


def _sidecar_bytes(path: str) -> bytes:
    """The sidecar's bytes, cut off just above the limit."""
    if object_stores.is_url(path):
        return object_stores.read(path, most=_MAX_SIDECAR_BYTES)
    with open(path, "rb") as stream:
        return stream.read(_MAX_SIDECAR_BYTES + 1)


def record_of(file: SourceFile, content_digest: str, documents: int) -> FileRecord:
    """The file's record for the index.

    `modified_ns` is the inode's change time, which no program can set back, or 0 if it is not reliable.
    """
    reliable = object_stores.is_url(file.path) or (
        file.sidecar is None and file.changed_ns < time.time_ns() - _CLOCK_TICK_NS
    )
    return FileRecord(file.path, file.source, content_digest, file.size, file.changed_ns if reliable else 0, documents)


def is_unchanged(file: SourceFile, known: FileRecord) -> bool:
    """Whether size and change time prove, without reading the file, that it is as it was indexed."""
    return (
        (file.sidecar is None or object_stores.is_url(file.path))
        and known.modified_ns != 0
        and (known.size, known.modified_ns) == (file.size, file.changed_ns)
    )


def has_vanished(path: str) -> bool:
    """Whether the file has certainly been deleted; a folder without permission only hides its files."""
    if object_stores.is_url(path):
        return object_stores.is_gone(path)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def sidecar_meta(path: str) -> dict[str, MetaValue]:
    """Metadata from a sidecar file. Raises ConversionError if it is not a JSON object."""
    name = os.path.basename(path)
    try:
        content = _sidecar_bytes(path)
        if len(content) > _MAX_SIDECAR_BYTES:
            raise ConversionError(f"{name} is larger than {_MAX_SIDECAR_BYTES >> 20} MB")
        values: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{name} is not JSON: {error}") from error
    except OSError as error:
        raise ConversionError(f"{name}: {reason_of(error)}") from error
    if not isinstance(values, Mapping):
        raise ConversionError(f"{name} is not a JSON object")
    return plain_meta(values)


def sidecar_names(path: str) -> tuple[str, str]:
    """Possible paths of a file's sidecar; the first that exists counts."""
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


def reason_of(error: OSError) -> str:
    """Why a file cannot be read, in words."""
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return error.strerror or str(error)
