"""Uploaded files on their way from the staging folder into the library, and back out where a new version is no good.

A worker may be killed at any moment: what it was about to do stands in a journal beside the upload, which the next
one follows. `settle` ends it: then the library holds what the index knows, and nothing else of the upload.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexing.converters import FORMATS
from indexing.sources import SIDECAR, Skip
from indexing.worker.uploads import Names, Refused, Room, checked_name, folded, shown, unpack
from search_app.errors import SearchAppError
from search_app.settings import JobSettings, Settings, check_collection_name

JOURNAL = "journal.json"
_UNPACKED, _EARLIER, _NEXT = "unpacked", "earlier", "next"


@dataclass(frozen=True, slots=True)
class Placed:
    """A file of an upload: `name` in the library, `staged` below the upload's own folder."""

    name: str
    staged: str


@dataclass(slots=True)
class Journal:
    """What becomes of an upload's files; a reason for each that is not taken."""

    files: list[Placed] = field(default_factory=list)
    problems: list[Skip] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)


class Library:
    """The originals of one collection's uploads; a document's source is its file's name in here."""

    def __init__(self, settings: Settings, collection: str) -> None:
        self._root = Path(os.path.abspath(settings.jobs_folder / "library"))
        self._collection = check_collection_name(collection)
        link = self._link(collection)
        self.folder = self._root / (link.read_text(encoding="ascii") if link.exists() else collection)

    def prepare_rename(self, new: str) -> None:
        """Give the folder to `new` as well. The files stay in place, because the index holds their paths."""
        self._write_link(check_collection_name(new), self.folder.name)

    def finish_rename(self, new: str) -> None:
        """Take the folder from the old name: a later collection of that name gets a folder of its own."""
        link = self._link(new)
        if link.exists() and link.read_text(encoding="ascii") == self.folder.name:
            self._write_link(self._collection, f"{self._collection}~{secrets.token_hex(4)}")

    def was_renamed(self, new: str) -> bool:
        """Whether a rename to `new` has begun."""
        return self._link(new).exists()

    def delete(self) -> None:
        """Delete all files of the collection."""
        with _disk(self.folder):
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self._link(self._collection).unlink(missing_ok=True)

    def _link(self, collection: str) -> Path:
        """The file that names the collection's folder, if that is not the collection's own name."""
        return self._root / f"{collection}.link"

    def _write_link(self, collection: str, folder: str) -> None:
        link = self._link(collection)
        with _disk(link):
            self._root.mkdir(parents=True, exist_ok=True)
            draft = link.with_name(f"{link.name}.{secrets.token_hex(4)}")
            draft.write_text(folder, encoding="ascii")
            os.replace(draft, link)

    def path(self, name: str) -> Path:
        return self.folder / name

    def holds(self, path: str) -> bool:
        return path.startswith(f"{self.folder}{os.sep}")

    def obstacle(self, name: str) -> str | None:
        """Why no file can be put there. Links are not followed."""
        place = self.folder
        *parents, _ = name.split("/")
        for part in parents:
            place /= part
            kind = _kind(place)
            if kind is not None and not stat.S_ISDIR(kind):
                return f"{place.relative_to(self.folder)} is a file in this collection, not a folder"
        kind = _kind(self.folder / name)
        if kind is None or stat.S_ISREG(kind):
            return None
        return "it is a folder in this collection, not a file" if stat.S_ISDIR(kind) else "a link is in its place"

    def owners(self, sidecar: str) -> list[str]:
        """Names of the files, there or not, that the metadata could belong to."""
        stem = sidecar.removesuffix(SIDECAR)
        return [stem, *(stem + ending for ending in FORMATS)]

    def remove(self, paths: Sequence[str]) -> None:
        """Files and their metadata; folders that are empty then go with them."""
        for path in map(Path, paths):
            for victim in (path, Path(f"{path}{SIDECAR}")):
                with _disk(victim):
                    victim.unlink(missing_ok=True)
            sidecar = path.with_suffix(SIDECAR)
            if not any(os.path.exists(owner) for owner in self.owners(str(sidecar))):
                with _disk(sidecar):
                    sidecar.unlink(missing_ok=True)
            self.prune(path.parent)

    def prune(self, folder: Path) -> None:
        while folder != self.folder and folder.is_relative_to(self.folder):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


class Upload:
    """One job's files. `prepare`, `put`, then `settle`; from the start again after a kill, with the same outcome."""

    def __init__(self, folder: Path, library: Library) -> None:
        self._folder = folder
        self._library = library
        self.journal = Journal()

    def is_unsettled(self) -> bool:
        return (self._folder / JOURNAL).exists()

    def prepare(self, files: Sequence[Mapping[str, Any]], limits: JobSettings) -> None:
        """Decides what becomes of each file, and keeps the earlier versions. The library is not touched yet."""
        if self.is_unsettled():
            self.resume()
            return
        with _disk(self._folder):
            for name in (_UNPACKED, _EARLIER, _NEXT):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            self.journal = self._sorted(files, limits)
            (self._folder / _EARLIER).mkdir(parents=True)
            for number, file in enumerate(self.journal.files):
                if (there := self._library.path(file.name)).exists():
                    _copy(there, self._earlier(number))
            _sync_folder(self._folder / _EARLIER)
        write_journal(self._folder / JOURNAL, asdict(self.journal))

    def resume(self) -> None:
        """Reads the journal."""
        with _disk(self._folder):
            found = json.loads((self._folder / JOURNAL).read_bytes())
        self.journal = Journal(
            [Placed(**file) for file in found["files"]],
            [Skip(**problem) for problem in found["problems"]],
            [Skip(**skip) for skip in found["skips"]],
        )

    def put(self) -> list[Path]:
        """Puts the files into the library; returns those that are to be indexed."""
        for file in self.journal.files:
            self._place(self._folder / file.staged, self._library.path(file.name))
        self._sync()
        return self.indexed_paths()

    def indexed_paths(self) -> list[Path]:
        """The files, and those that are in the library already where only their metadata is new."""
        paths: dict[Path, None] = {}
        for file in self.journal.files:
            if file.name.endswith(SIDECAR):
                owners = map(self._library.path, self._library.owners(file.name))
                paths.update((owner, None) for owner in owners if owner.is_file())
            paths[self._library.path(file.name)] = None
        return list(paths)

    def settle(self, is_indexed: Callable[[Path], bool]) -> None:
        """Of what the index does not hold as it is now, the earlier version comes back, if there was one."""
        indexed = [self._is_kept(self._library.path(file.name), is_indexed) for file in self.journal.files]
        for number, (file, stays) in enumerate(zip(self.journal.files, indexed, strict=True)):
            path = self._library.path(file.name)
            if stays:
                continue
            if self._earlier(number).exists():
                self._place(self._earlier(number), path)
            else:
                with _disk(path):
                    path.unlink(missing_ok=True)
                self._library.prune(path.parent)
        self._sync()
        with _disk(self._folder):
            (self._folder / JOURNAL).unlink()
            _sync_folder(self._folder)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_kept(self, path: Path, is_indexed: Callable[[Path], bool]) -> bool:
        if not path.name.endswith(SIDECAR):
            return is_indexed(path)
        return any(is_indexed(Path(owner)) for owner in self._library.owners(str(path)))

    def _sorted(self, files: Sequence[Mapping[str, Any]], limits: JobSettings) -> Journal:
        journal = Journal()
        taken = Names()
        room = Room(limits.max_files, limits.max_unpacked_mb << 20, limits.max_ratio)
        for number, file in enumerate(files):
            given = str(file["name"])
            try:
                name = checked_name(given)
                stored = self._folder / str(file["stored"])
                if stored.parent != self._folder or not stored.is_file() or stored.is_symlink():
                    raise Refused("what was uploaded is gone")
                if folded(name).endswith(".zip"):
                    unpacked = unpack(
                        stored, self._folder / _UNPACKED / str(number), room=room, taken=taken, left_out=_left_out
                    )
                    journal.skips += [Skip(f"{name}: {shown(skip.source)}", skip.reason) for skip in unpacked.skipped]
                    found = [(member.name, member.path) for member in unpacked.members]
                elif reason := _left_out(name):
                    journal.skips.append(Skip(name, reason))
                    continue
                else:
                    taken.take(name)
                    found = [(name, stored)]
            except Refused as error:
                journal.problems.append(Skip(shown(given), str(error)))
                continue
            for name, path in found:
                if not path.stat().st_size:
                    journal.skips.append(Skip(name, "empty file"))
                elif reason := self._library.obstacle(name):
                    journal.problems.append(Skip(name, reason))
                else:
                    journal.files.append(Placed(name, path.relative_to(self._folder).as_posix()))
        return journal

    def _earlier(self, number: int) -> Path:
        return self._folder / _EARLIER / str(number)

    def _place(self, source: Path, target: Path) -> None:
        """Whole or not at all; `source` stays for whoever has to do it again."""
        if reason := self._library.obstacle(target.relative_to(self._library.folder).as_posix()):
            raise SearchAppError(f"{target}: {reason}", hint="see who else writes into the library, then upload again")
        with _disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            following = self._folder / _NEXT
            following.unlink(missing_ok=True)
            _copy(source, following)
            os.replace(following, target)

    def _sync(self) -> None:
        for folder in {self._library.path(file.name).parent for file in self.journal.files}:
            if folder.is_dir():
                with _disk(folder):
                    _sync_folder(folder)


def _left_out(name: str) -> str | None:
    """Why such a file is not indexed, by its name alone."""
    parts = name.split("/")
    if "__MACOSX" in parts:
        return "what macOS notes beside a file"
    if any(part.startswith(".") for part in parts):
        return "hidden file"
    ending = os.path.splitext(name)[1].lower()
    if name.endswith(SIDECAR) or ending in FORMATS:
        return None
    return f"unknown type {ending}" if ending else "unknown type: its name has no ending"


def _copy(source: Path, target: Path) -> None:
    """A second name of the same file, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as reading, target.open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())


def write_journal(path: Path, value: object) -> None:
    """On the disk, whole, when it returns."""
    following = path.with_name(f"{path.name}.new")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with following.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(following, path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kind(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or path
        raise SearchAppError(
            f"{place}: {error.strerror or error}", hint="make room or give permission there, then upload again"
        ) from error
