"""The library of uploaded originals, and how an upload moves from the staging folder into it.

A journal beside the upload lists each step before it is done, so that after a kill the next worker can repeat it.
`Upload.complete` keeps the files that were indexed and restores the earlier versions of the others.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexing.converters.content import ConversionError
from indexing.formats import BY_NAME, FORMATS, format_of, why_unknown
from indexing.sources import SIDECAR, Skip, sidecar_meta, sidecar_names
from indexing.worker.uploads import Budget, TakenNames, fold_case, unpack
from search_app.errors import SearchAppError
from search_app.queue.staging import UploadError, printable, safe_name, sync_folder
from search_app.settings import JobSettings, Settings, check_collection_name
from search_app.types import MetaValue

JOURNAL = "journal.json"
_UNPACKED, _EARLIER, _NEXT, _STATED = "unpacked", "earlier", "next", "stated"


@dataclass(frozen=True, slots=True)
class JournalFile:
    """An uploaded file: `name` is its path in the library, `staged` its path below the upload's folder."""

    name: str
    staged: str


@dataclass(slots=True)
class Journal:
    """The files of an upload to be indexed, and the reasons for those that are not."""

    files: list[JournalFile] = field(default_factory=list)
    problems: list[Skip] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)


class Library:
    """The uploaded files of a collection. A document's source is its file's path below `folder`."""

    def __init__(self, settings: Settings, collection: str) -> None:
        self._root = Path(os.path.abspath(settings.jobs_folder / "library"))
        self._collection = check_collection_name(collection)
        link = self._link(collection)
        self.folder = self._root / (link.read_text(encoding="ascii") if link.exists() else collection)

    def prepare_rename(self, new: str) -> None:
        """Give the folder to `new` as well. The files stay in place, because the index holds their paths."""
        self._write_link(check_collection_name(new), self.folder.name)

    def cancel_rename(self, new: str) -> None:
        """Undo `prepare_rename`: a later collection of that name gets a folder of its own."""
        self._write_link(new, f"{new}~{secrets.token_hex(4)}")

    def finish_rename(self, new: str) -> None:
        """Take the folder from the old name: a later collection of that name gets a folder of its own."""
        link = self._link(new)
        if link.exists() and link.read_text(encoding="ascii") == self.folder.name:
            self._write_link(self._collection, f"{self._collection}~{secrets.token_hex(4)}")

    def was_renamed(self, new: str) -> bool:
        """Whether a rename to `new` has begun: it has the folder of another name."""
        link = self._link(new)
        return link.exists() and not link.read_text(encoding="ascii").startswith(f"{new}~")

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

    def contains(self, path: str) -> bool:
        return path.startswith(f"{self.folder}{os.sep}")

    def conflict(self, name: str) -> str | None:
        """Why no file can have this name here, or None. Links are not followed."""
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
        return "it is a folder in this collection, not a file" if stat.S_ISDIR(kind) else "a link has this name"

    def documents_of(self, sidecar: str) -> list[str]:
        """Paths that a metadata file may belong to, whether they exist or not."""
        stem = sidecar.removesuffix(SIDECAR)
        return [stem, *(stem + ending for ending in FORMATS)]

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files, their metadata files, and folders that are then empty."""
        for path in map(Path, paths):
            for victim in (path, Path(f"{path}{SIDECAR}")):
                with _disk(victim):
                    victim.unlink(missing_ok=True)
            sidecar = path.with_suffix(SIDECAR)
            if not any(os.path.exists(owner) for owner in self.documents_of(str(sidecar))):
                with _disk(sidecar):
                    sidecar.unlink(missing_ok=True)
            self.remove_empty(path.parent)

    def remove_empty(self, folder: Path) -> None:
        """Delete the folder and its parents up to the library, as long as they are empty."""
        while folder != self.folder and folder.is_relative_to(self.folder):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


class Upload:
    """The files of a job: `prepare`, `place`, index, `complete`. After a kill, repeat them: the result is the same."""

    def __init__(self, folder: Path, library: Library) -> None:
        self._folder = folder
        self._library = library
        self.journal = Journal()

    def has_journal(self) -> bool:
        return (self._folder / JOURNAL).exists()

    def prepare(self, files: Sequence[Mapping[str, Any]], limits: JobSettings) -> None:
        """Check and unpack the files, back up earlier versions, write the journal. The library is not changed yet."""
        if self.has_journal():
            self.load_journal()
            return
        with _disk(self._folder):
            for name in (_UNPACKED, _EARLIER, _NEXT, _STATED):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            self.journal = self._check(files, limits)
            self._state_charsets(files)
            (self._folder / _EARLIER).mkdir(parents=True)
            for number, file in enumerate(self.journal.files):
                if (earlier := self._library.path(file.name)).exists():
                    _copy(earlier, self._earlier(number))
            sync_folder(self._folder / _EARLIER)
        write_json(self._folder / JOURNAL, asdict(self.journal))

    def load_journal(self) -> None:
        with _disk(self._folder):
            found = json.loads((self._folder / JOURNAL).read_bytes())
        self.journal = Journal(
            [JournalFile(**file) for file in found["files"]],
            [Skip(**problem) for problem in found["problems"]],
            [Skip(**skip) for skip in found["skips"]],
        )

    def place(self) -> list[Path]:
        """Put the files into the library; returns the paths to index."""
        for file in self.journal.files:
            self._place(self._folder / file.staged, self._library.path(file.name))
        self._sync()
        return self.indexed_paths()

    def indexed_paths(self) -> list[Path]:
        """The files, and earlier files of the library that get new metadata."""
        paths: dict[Path, None] = {}
        for file in self.journal.files:
            if file.name.endswith(SIDECAR):
                owners = map(self._library.path, self._library.documents_of(file.name))
                paths.update((owner, None) for owner in owners if owner.is_file())
            paths[self._library.path(file.name)] = None
        return list(paths)

    def complete(self, is_indexed: Callable[[Path], bool]) -> None:
        """Remove files that were not indexed, restore their earlier versions, and delete the journal."""
        indexed = [self._keeps(self._library.path(file.name), is_indexed) for file in self.journal.files]
        for number, (file, stays) in enumerate(zip(self.journal.files, indexed, strict=True)):
            path = self._library.path(file.name)
            if stays:
                continue
            if self._earlier(number).exists():
                self._place(self._earlier(number), path)
            else:
                with _disk(path):
                    path.unlink(missing_ok=True)
                self._library.remove_empty(path.parent)
        self._sync()
        with _disk(self._folder):
            (self._folder / JOURNAL).unlink()
            sync_folder(self._folder)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keeps(self, path: Path, is_indexed: Callable[[Path], bool]) -> bool:
        if not path.name.endswith(SIDECAR):
            return is_indexed(path)
        return any(is_indexed(Path(owner)) for owner in self._library.documents_of(str(path)))

    def _check(self, files: Sequence[Mapping[str, Any]], limits: JobSettings) -> Journal:
        journal = Journal()
        taken = TakenNames()
        budget = Budget(limits.max_files, limits.max_unpacked_mb << 20, limits.max_ratio)
        for number, file in enumerate(files):
            given = str(file["name"])
            try:
                name = safe_name(given)
                stored = self._folder / str(file["stored"])
                if stored.parent != self._folder or not stored.is_file() or stored.is_symlink():
                    raise UploadError("the uploaded file is missing")
                if fold_case(name).endswith(".zip"):
                    unpacked = unpack(
                        stored,
                        self._folder / _UNPACKED / str(number),
                        budget=budget,
                        taken=taken,
                        skip_reason=_skip_reason,
                    )
                    journal.skips += [
                        Skip(f"{name}: {printable(skip.source)}", skip.reason) for skip in unpacked.skipped
                    ]
                    found = [(member.name, member.path) for member in unpacked.members]
                elif reason := _skip_reason(name):
                    journal.skips.append(Skip(name, reason))
                    continue
                else:
                    taken.take(name)
                    found = [(name, stored)]
            except UploadError as error:
                journal.problems.append(Skip(printable(given), str(error)))
                continue
            for name, path in found:
                if not path.stat().st_size:
                    journal.skips.append(Skip(name, "empty file"))
                elif reason := self._library.conflict(name):
                    journal.problems.append(Skip(name, reason))
                else:
                    journal.files.append(JournalFile(name, path.relative_to(self._folder).as_posix()))
        return journal

    def _state_charsets(self, files: Sequence[Mapping[str, Any]]) -> None:
        """Keep the encodings that the form states in metadata files, unless the upload has its own."""
        stated = {safe_name(str(file["name"])): str(file["charset"]) for file in files if file.get("charset")}
        names = {file.name for file in self.journal.files}
        (self._folder / _STATED).mkdir()
        for name in sorted(names & stated.keys()):
            kind = format_of(name)
            if kind is None or not BY_NAME[kind].text or not names.isdisjoint(sidecar_names(name)):
                continue
            with suppress(ConversionError):  # metadata in the library that are not JSON: reading the file names them
                staged = f"{_STATED}/{len(self.journal.files)}"
                write_json(self._folder / staged, {**self._known_meta(name), "charset": stated[name]})
                self.journal.files.append(JournalFile(name + SIDECAR, staged))

    def _known_meta(self, name: str) -> Mapping[str, MetaValue]:
        """The metadata that the library has for a file of this name."""
        found = next(filter(os.path.isfile, sidecar_names(str(self._library.path(name)))), None)
        return sidecar_meta(found) if found else {}

    def _earlier(self, number: int) -> Path:
        return self._folder / _EARLIER / str(number)

    def _place(self, source: Path, target: Path) -> None:
        """Atomic; `source` stays, so that it can be repeated."""
        if reason := self._library.conflict(target.relative_to(self._library.folder).as_posix()):
            raise SearchAppError(
                f"{target}: {reason}", hint="make sure that nothing else writes to this folder, then upload again"
            )
        with _disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / _NEXT
            temporary.unlink(missing_ok=True)
            _copy(source, temporary)
            os.replace(temporary, target)

    def _sync(self) -> None:
        for folder in {self._library.path(file.name).parent for file in self.journal.files}:
            if folder.is_dir():
                with _disk(folder):
                    sync_folder(folder)


def _skip_reason(name: str) -> str | None:
    """Why a file of this name is not indexed, or None."""
    parts = name.split("/")
    if "__MACOSX" in parts:
        return "metadata of macOS"
    if any(part.startswith(".") for part in parts):
        return "hidden file"
    return None if name.endswith(SIDECAR) or format_of(name) else why_unknown(name)


def _copy(source: Path, target: Path) -> None:
    """A hard link, or a copy if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as reading, target.open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())


def write_json(path: Path, value: object) -> None:
    """Atomic; on disk when it returns."""
    temporary = path.with_name(f"{path.name}.new")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


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
            f"{place}: {error.strerror or error}", hint="free some space or grant access there, then upload again"
        ) from error
