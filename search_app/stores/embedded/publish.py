"""Replace the served index and keep the old one as `previous.db`: for rebuild, restore and rollback.

The new content is copied into the served file in one transaction, under a new lineage and a higher generation. Before
that the old index is copied to `set-aside.db`, which then becomes `previous.db`. After a kill, `recover` finishes or
undoes this, depending on which lineage is served.
"""

from __future__ import annotations

import secrets
from contextlib import closing, suppress
from pathlib import Path

import apsw

from search_app.errors import ConfigurationError, IndexCorrupt, IndexUnavailable
from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, generation, upgrade
from search_app.stores.embedded.connection import connect_writing, rows, translated
from search_app.stores.embedded.files import Files, temporary
from search_app.stores.embedded.maintenance import refresh
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE, REBUILD_FILE, RESTORE_FILE, SET_ASIDE_FILE
from search_app.stores.embedded.state import holds_index, last_commit


def publish(files: Files, folder: Path, new: Path, *, keep: bool = True) -> int:
    """Serve the index in the file `new` of this folder and delete that file; returns its generation.

    Its caches are in the folder already. With `keep`, the old index becomes the previous one.
    """
    target = folder / INDEX_FILE
    kept = False
    with closing(connect_writing(new)) as source, translated(new):
        served = _open_served(files, target)
        with closing(served):
            before = _generation(served)
            if before is not None and keep:
                kept = _set_aside(files, folder, served)
            first = max(before or 0, _recorded(folder)) + 1
            lineage = new_lineage()
            with source:
                sql = "UPDATE manifest SET lineage = ?, generation = max(generation + 1, ?) RETURNING generation"
                number = int(rows(source, sql, (lineage, first))[0])
            checkpoint(source)
            generation.announce(files, folder, lineage)
            with translated(target):
                served.pragma("checksum_verification", False)  # damaged pages are overwritten too
                copy(source, served)
                generation.record(files, folder, lineage, number)
                caches.remove_orphans(files, served, folder)
    delete(files, new)
    if kept:
        _keep(files, folder)
    return number


def rollback(files: Files, folder: Path, settings: VectorSettings) -> int:
    """Swap the served index with the previous one; returns the new generation."""
    previous = folder / PREVIOUS_FILE
    if not previous.exists():
        raise ConfigurationError(
            f"there is no previous index in {folder}",
            hint="search-index apply --rebuild and search-index restore --replace keep one",
        )
    with closing(connect_writing(previous)) as db, translated(previous):
        upgrade.upgrade(db)
        with db:
            db.execute("DELETE FROM caches")  # left by a killed attempt
        refresh(db, folder, files, settings)
    return publish(files, folder, previous)


def recover(files: Files, folder: Path) -> None:
    """Finish or undo what a killed job began to publish. The caller holds the writer lock."""
    delete(files, folder / RESTORE_FILE)
    served = lineage_of(folder / INDEX_FILE)
    if not served:
        return
    for name in (REBUILD_FILE, PREVIOUS_FILE):
        if lineage_of(folder / name) == served:
            delete(files, folder / name)
    if (folder / SET_ASIDE_FILE).exists():
        if lineage_of(folder / SET_ASIDE_FILE) == served:
            delete(files, folder / SET_ASIDE_FILE)
        else:
            _keep(files, folder)


def new_lineage() -> str:
    """A random id for a new history of generations."""
    return secrets.token_hex(8)


def lineage_of(path: Path) -> str:
    """Empty without a readable index."""
    if path.exists():
        with suppress(IndexUnavailable, apsw.Error), closing(connect_writing(path)) as db, translated(path):
            return last_commit(db)[0]
    return ""


def copy(source: apsw.Connection, target: apsw.Connection) -> None:
    """Copy an index into another file in one transaction, then checkpoint it."""
    with target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(-1)
    checkpoint(target)


def checkpoint(db: apsw.Connection) -> None:
    """Move the write-ahead log into the file, as far as readers allow."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def delete(files: Files, path: Path) -> None:
    """Delete an index file with its log."""
    files.remove(path)
    delete_log(files, path)


def delete_log(files: Files, path: Path) -> None:
    """Delete the log of a closed and checkpointed file."""
    for suffix in ("-wal", "-shm"):
        files.remove(path.with_name(path.name + suffix))


def _open_served(files: Files, target: Path) -> apsw.Connection:
    """Open the file to overwrite it; a damaged one is replaced."""
    try:
        db = connect_writing(target)
    except IndexCorrupt:
        delete(files, target)
        return connect_writing(target)
    return db


def _generation(db: apsw.Connection) -> int | None:
    """None without a readable index."""
    try:
        return last_commit(db)[1] if holds_index(db) else None
    except (apsw.CorruptError, apsw.IOError):
        return None


def _recorded(folder: Path) -> int:
    try:
        recorded = generation.read(folder)
    except IndexCorrupt:
        return 0
    return recorded.generation if recorded else 0


def _set_aside(files: Files, folder: Path, served: apsw.Connection) -> bool:
    """Copy the served index; False if it is damaged, and not worth keeping."""
    aside = folder / SET_ASIDE_FILE
    unfinished = temporary(aside)
    try:
        with closing(connect_writing(unfinished)) as db, translated(unfinished):
            copy(served, db)
            if rows(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'caches'")[0]:
                with db:
                    db.execute("DELETE FROM caches")  # their files belong to the served index
                checkpoint(db)
    except IndexCorrupt:
        delete(files, unfinished)
        return False
    delete_log(files, unfinished)
    files.sync(unfinished)
    files.replace(unfinished, aside)
    return True


def _keep(files: Files, folder: Path) -> None:
    aside = folder / SET_ASIDE_FILE
    delete_log(files, aside)
    delete(files, folder / PREVIOUS_FILE)
    files.replace(aside, folder / PREVIOUS_FILE)
