"""Snapshots: folders with one generation of an index and its caches, and the SHA-256 of each file."""

from __future__ import annotations

import json
import string
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apsw

from search_app.errors import ConfigurationError, IndexCorrupt, IndexNotFound, SearchAppError
from search_app.stores.embedded import caches, generation, publish, upgrade
from search_app.stores.embedded.connection import connect_reading, connect_writing, rows, translated
from search_app.stores.embedded.files import Files, temporary
from search_app.stores.embedded.schema import INDEX_FILE, RESTORE_FILE
from search_app.stores.embedded.state import holds_index, last_commit, read_format, read_manifest
from search_app.stores.embedded.verify import foreign_tables

CONTENTS_FILE = "snapshot.json"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a snapshot: its checksum and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of `snapshot.json`; `files` by name."""

    collection: str
    lineage: str
    generation: int
    format: int
    files: dict[str, Entry]


def snapshot(files: Files, folder: Path, destination: Path, *, collection: str) -> Contents:
    """Copy the last commit into a new folder, while readers and a writer continue.

    Raises IndexCorrupt for an index that has lost commits, since the restored copy would not show it.
    """
    path = folder / INDEX_FILE
    if not path.exists():
        raise IndexNotFound(collection)
    with files.translated(destination):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise ConfigurationError(
                f"{destination} exists and is not an empty folder", hint="name a new folder", field="destination"
            )
    recorded = generation.read(folder)
    unfinished = temporary(destination.absolute())
    files.make_folder(unfinished)
    _clear(files, unfinished)
    try:
        contents = _copy(files, folder, unfinished, collection)
        generation.require(recorded, folder, contents.lineage, contents.generation)
        files.write(unfinished / CONTENTS_FILE, [json.dumps(asdict(contents), indent=2).encode()])
        files.replace(unfinished, destination.absolute())
    except Exception:
        with suppress(SearchAppError):
            files.remove_folder(unfinished)
        raise
    return contents


def read(files: Files, source: Path) -> Contents:
    """Read and check a snapshot. Raises ConfigurationError without one, IndexCorrupt for a damaged file."""
    described = source / CONTENTS_FILE
    if not described.is_file():
        raise ConfigurationError(
            f"{source} is not a snapshot: it has no {CONTENTS_FILE}", hint="make one with: search-index snapshot DEST"
        )
    try:
        data: dict[str, Any] = json.loads(files.read(described))
        entries = {str(name): Entry(**entry) for name, entry in data.pop("files").items()}
        contents = Contents(**data, files=entries)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexCorrupt(f"{described} is damaged", hint="use another snapshot") from error
    if INDEX_FILE not in entries or not all(map(_is_plain, entries)):
        raise IndexCorrupt(f"{described} is damaged", hint="use another snapshot")
    for name, entry in entries.items():
        if files.sha256(source / name) != entry.sha256:
            raise IndexCorrupt(f"{source / name} is damaged: its SHA-256 is wrong", hint="use another snapshot")
    return contents


def restore(files: Files, folder: Path, source: Path, contents: Contents) -> int:
    """Serve a checked snapshot in this folder; returns the generation. The caller holds the writer lock."""
    new = folder / RESTORE_FILE
    publish.delete(files, new)
    for name, entry in contents.files.items():
        target = new if name == INDEX_FILE else folder / name
        files.copy(source / name, target)
        if files.sha256(target) != entry.sha256:
            files.remove(target)
            raise IndexCorrupt(f"{source / name} changed while it was restored", hint="run it again")
    with closing(connect_writing(new)) as db, translated(new):
        upgrade.upgrade(db)
        foreign = list(foreign_tables(db))
        known = set(rows(db, "SELECT file FROM caches"))
        publish.checkpoint(db)
    if foreign or not known <= set(contents.files):
        publish.delete(files, new)
        what = foreign[0] if foreign else "a cache of its index is missing"
        raise IndexCorrupt(f"{source} is not a snapshot of this program: {what}", hint="use another snapshot")
    return publish.publish(files, folder, new)


def _copy(files: Files, folder: Path, destination: Path, collection: str) -> Contents:
    target = destination / INDEX_FILE
    path = folder / INDEX_FILE
    for attempt in range(_ATTEMPTS):
        publish.delete(files, target)
        with closing(connect_writing(target)) as db:
            with closing(connect_reading(path)) as source, translated(path):
                publish.copy(source, db)
            with translated(target):
                if not holds_index(db):
                    raise IndexNotFound(collection)
                read_manifest(db)  # raises
                found = read_format(db)
                lineage, number = last_commit(db)
                # A writer may have replaced a cache since: try again, the last time without it.
                entries = _copy_caches(files, db, folder, destination, last=attempt == _ATTEMPTS - 1)
                publish.checkpoint(db)
        if entries is not None:
            break
    publish.delete_log(files, target)
    files.sync(target)
    assert entries is not None
    index = Entry(files.sha256(target), target.stat().st_size)
    return Contents(collection, lineage, number, found, {INDEX_FILE: index, **entries})


def _copy_caches(
    files: Files, db: apsw.Connection, folder: Path, destination: Path, *, last: bool
) -> dict[str, Entry] | None:
    """None if a cache is missing or damaged; the `last` attempt leaves that one out instead."""
    found = {}
    for kind, name, sha256, size in rows(db, "SELECT kind, file, sha256, bytes FROM caches"):
        if caches.damage(folder / name, sha256):
            if not last:
                return None
            with db:
                db.execute("DELETE FROM caches WHERE kind = ?", (kind,))
            continue
        files.copy(folder / name, destination / name)
        found[name] = Entry(sha256, size)
    return found


def _clear(files: Files, unfinished: Path) -> None:
    """Delete the files of a killed attempt, and nothing else."""
    publish.delete(files, unfinished / INDEX_FILE)
    for path in sorted(unfinished.glob("*.cache*")) + sorted(unfinished.glob(f"{CONTENTS_FILE}*")):
        files.remove(path)
    if any(unfinished.iterdir()):
        raise ConfigurationError(f"{unfinished} is in the way", hint="remove it, or name another folder")


def _is_plain(name: str) -> bool:
    """Whether a name from a foreign snapshot is a plain file name."""
    return name == INDEX_FILE or (
        name.endswith(".cache") and set(name) <= set(string.ascii_letters + string.digits + "-.") and name[0] != "."
    )
