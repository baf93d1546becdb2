"""A whole index in place of the served one, which is kept: after a rebuild, a restore, and to go back.

The new content goes into the served file in one transaction that readers step over, under a new lineage and a
generation beyond the old one. What was served lies, from before that until it is `previous.db`, under a name of its
own; `recover` finishes or undoes what a killed job left, by the lineage that is served.
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


def publish(files: Files, folder: Path, new: Path, *, keep: bool = True) -> int:
    """Serves the index in the file `new` of this folder, which goes away; returns its generation.

    Its caches lie in the folder already. With `keep`, what was served is the previous index then.
    """
    target = folder / INDEX_FILE
    kept = False
    with closing(connect_writing(new)) as source, translated(new):
        served = _open_served(files, target)
        with closing(served):
            before = _state(served)
            if before is not None and keep:
                kept = _set_aside(files, folder, served)
            first = max(before[1] if before else 0, _recorded(folder)) + 1
            lineage = new_lineage()
            with source:
                sql = "UPDATE manifest SET lineage = ?, generation = max(generation + 1, ?) RETURNING generation"
                number = int(rows(source, sql, (lineage, first))[0])
            checkpoint(source)
            generation.announce(files, folder, lineage)
            with translated(target):
                served.pragma("checksum_verification", False)  # it is overwritten, whatever it holds
                copy(source, served)
                generation.record(files, folder, lineage, number)
                caches.remove_orphans(files, served, folder)
    delete(files, new)
    if kept:
        _keep(files, folder)
    return number


def rollback(files: Files, folder: Path, settings: VectorSettings) -> int:
    """Swaps what is served with what was served before; returns the new generation."""
    previous = folder / PREVIOUS_FILE
    if not previous.exists():
        raise ConfigurationError(
            f"there is no earlier index in {folder}",
            hint="one is kept by: search-index apply --rebuild PATH, and by: search-index restore --replace",
        )
    with closing(connect_writing(previous)) as db, translated(previous):
        upgrade.upgrade(db)
        with db:
            db.execute("DELETE FROM caches")  # of a killed attempt: their files are gone
        refresh(db, folder, files, settings)
    return publish(files, folder, previous)


def recover(files: Files, folder: Path) -> None:
    """Ends what a killed job had begun to publish. For whoever holds the writer's lock."""
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
    return secrets.token_hex(8)


def lineage_of(path: Path) -> str:
    """Empty where there is no index that can be read."""
    if path.exists():
        with suppress(IndexUnavailable, apsw.Error), closing(connect_writing(path)) as db, translated(path):
            return str(rows(db, "SELECT lineage FROM manifest")[0])
    return ""


def copy(source: apsw.Connection, target: apsw.Connection) -> None:
    """All of one index into another file, in one transaction, which is then moved out of the log."""
    with target.backup("main", source, "main") as backup:
        while not backup.done:
            backup.step(-1)
    checkpoint(target)


def checkpoint(db: apsw.Connection) -> None:
    """The log into the file, as far as readers let it."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def delete(files: Files, path: Path) -> None:
    """An index file with its log."""
    files.remove(path)
    delete_log(files, path)


def delete_log(files: Files, path: Path) -> None:
    """Of a file that was closed after all of its log had gone into it."""
    for suffix in ("-wal", "-shm"):
        files.remove(path.with_name(path.name + suffix))


def _open_served(files: Files, target: Path) -> apsw.Connection:
    """For being overwritten, so what is damaged in it does not count."""
    try:
        db = connect_writing(target)
    except IndexCorrupt:
        delete(files, target)
        return connect_writing(target)
    return db


def _state(db: apsw.Connection) -> tuple[str, int] | None:
    """Lineage and generation; None where the file holds no index."""
    try:
        if not rows(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'manifest'")[0]:
            return None
        lineage, number = rows(db, "SELECT lineage, generation FROM manifest")[0]
    except (apsw.CorruptError, apsw.IOError):
        return None
    return str(lineage), int(number)


def _recorded(folder: Path) -> int:
    try:
        recorded = generation.read(folder)
    except IndexCorrupt:
        return 0
    return recorded[1] if recorded else 0


def _set_aside(files: Files, folder: Path, served: apsw.Connection) -> bool:
    """Whether what is served could be copied whole; what is damaged is not worth keeping."""
    aside = folder / SET_ASIDE_FILE
    unfinished = temporary(aside)
    try:
        with closing(connect_writing(unfinished)) as db, translated(unfinished):
            copy(served, db)
            if rows(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'caches'")[0]:
                with db:
                    db.execute("DELETE FROM caches")  # their files belong to what is served
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
