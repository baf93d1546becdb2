"""What comes in an upload: names that may lead anywhere, and zip files that may hold anything."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import io
import os
import re
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

_PART_BYTES, _NAME_BYTES = 255, 1024
_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, lone surrogates, separators of lines and paragraphs."""
_BLOCK = 1 << 20
_HARMLESS = 1 << 20
"""Bytes up to which the ratio does not matter: a small table of zeros is no bomb."""
_DIRECTORY_BYTES = 1024
"""What a zip's list of members may take for each file that is allowed; all of it is read into memory."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""The others unpack into as much memory as the file asks for."""


class Refused(Exception):
    """Why a file of an upload is not taken, in words."""


@dataclass(slots=True)
class Room:
    """How much zip files may still unpack: files, bytes, and how many times its packed size one member may take."""

    files: int
    bytes: int
    ratio: int


@dataclass(frozen=True, slots=True)
class Member:
    """An unpacked file: `name` is checked, `path` has nothing to do with it."""

    name: str
    path: Path


@dataclass(slots=True)
class Unpacked:
    """The files of a zip, and those that were skipped."""

    members: list[Member] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)


def checked_name(name: str) -> str:
    """NFC, with "/" between parts, below whatever folder it is put into. Raises Refused."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(unicodedata.category(character) in _UNSAFE for character in name):
        raise Refused("its name holds control characters")
    if name.startswith("/") or (parts and re.match("[A-Za-z]:", parts[0])):
        raise Refused("its name is absolute; names must be relative")
    if ".." in parts:
        raise Refused('its name leads out of its folder by ".."')
    if not parts:
        raise Refused("it has no name")
    if any(len(part.encode()) > _PART_BYTES for part in parts) or len(name.encode()) > _NAME_BYTES:
        raise Refused(f"its name is too long: {_PART_BYTES} bytes a part, {_NAME_BYTES} in all")
    return "/".join(parts)


def shown(name: str) -> str:
    """A name as it can be printed."""
    return name if name.isprintable() else ascii(name)[1:-1]


def folded(name: str) -> str:
    """The same for names that differ in case alone, which some file systems take for one."""
    return unicodedata.normalize("NFC", name.casefold())


class Names:
    """Names that are taken; refuses a second one, one that differs in case alone, and a file that is a folder."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, name: str) -> None:
        self.check(name)
        name = folded(name)
        self._files.add(name)
        self._folders.update(_parents(name))

    def check(self, name: str) -> None:
        name = folded(name)
        if name in self._files:
            raise Refused("its name is there twice, or another differs from it in case alone")
        if name in self._folders or any(parent in self._files for parent in _parents(name)):
            raise Refused("a file and a folder have the same name")


def unpack(archive: Path, folder: Path, *, room: Room, taken: Names, left_out: Callable[[str], str | None]) -> Unpacked:
    """All members but those that `left_out` gives a reason for, into the new `folder`; Refused leaves nothing there.

    Sizes are counted while they are unpacked: what the zip says of itself is not believed.
    """
    folder.mkdir(parents=True)
    try:
        with _sound(), _Bounded(archive, room) as stream, zipfile.ZipFile(stream) as bundle:
            wanted, unpacked = _select(bundle.infolist(), left_out)
            for _, name in wanted:
                with _of_member(name):
                    taken.check(name)
            if len(wanted) > room.files:
                raise Refused(f"it holds {len(wanted)} files, {room.files} more may come with this upload")
            if sum(info.compress_size for info, _ in wanted) > archive.stat().st_size:
                raise Refused("its members overlap")
            left = room.bytes
            for number, (info, name) in enumerate(wanted):
                path = folder / str(number)
                with _of_member(name):
                    left -= _write(bundle, info, path, left=left, room=room)
                unpacked.members.append(Member(name, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for member in unpacked.members:
        taken.take(member.name)
    room.files -= len(unpacked.members)
    room.bytes = left
    return unpacked


def _select(
    infos: Sequence[zipfile.ZipInfo], left_out: Callable[[str], str | None]
) -> tuple[list[tuple[zipfile.ZipInfo, str]], Unpacked]:
    """What is to be unpacked; every member is looked at, also those that are not wanted."""
    wanted: list[tuple[zipfile.ZipInfo, str]] = []
    result = Unpacked()
    names = Names()
    for info in infos:
        with _of_member(info.orig_filename):
            is_folder = info.orig_filename.endswith(("/", "\\"))
            if is_folder and not info.orig_filename.strip("./\\"):
                continue
            name = checked_name(info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused("it is a link" if kind == stat.S_IFLNK else "it is no regular file")
            if is_folder or kind == stat.S_IFDIR:
                continue
            names.take(name)
            if reason := left_out(name):
                result.skipped.append(Skip(name, reason))
                continue
            if info.flag_bits & 0x1:
                raise Refused("it is encrypted")
            if info.compress_type not in _METHODS:
                raise Refused("it is packed by a method other than deflate")
            wanted.append((info, name))
    return wanted, result


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, *, left: int, room: Room) -> int:
    """Bytes that it took."""
    written = 0
    with bundle.open(info) as packed, path.open("xb") as file:
        while block := packed.read(_BLOCK):
            written += len(block)
            if written > _HARMLESS and written > room.ratio * max(1, info.compress_size):
                raise Refused(f"it unpacks to more than {room.ratio} times its size, as a zip bomb does")
            if written > left:
                raise Refused(f"with it the upload unpacks to more than {room.bytes >> 20} MiB that are left to it")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(ValueError, OverflowError):  # no such date
        modified = dt.datetime(*info.date_time).timestamp()
        os.utime(path, (modified, modified))
    return written


class _Bounded(io.FileIO):
    """Refuses to read a list of members that would not fit into memory as objects: zipfile reads it in one go."""

    def __init__(self, path: Path, room: Room) -> None:
        super().__init__(path, "rb")
        self._most = max(_BLOCK, _DIRECTORY_BYTES * room.files)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise Refused("its list of members is too long")
        return super().read(size) or b""


@contextmanager
def _sound() -> Iterator[None]:
    """What zipfile says of damage, as Refused."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the beginning of the file
            raise
        raise Refused("it is not a sound zip file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise Refused(f"it is not a sound zip file: {error}" if str(error) else "it is not a sound zip file") from error


@contextmanager
def _of_member(name: str) -> Iterator[None]:
    try:
        with _sound():
            yield
    except Refused as error:
        raise Refused(f"{shown(name)}: {error}") from error


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
