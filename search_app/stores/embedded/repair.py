"""Rebuild damaged derived data from the documents, passages and vectors, which are only read."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import apsw

from search_app.errors import IndexCorrupt
from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, generation, publish, upgrade
from search_app.stores.embedded.connection import connect_reading, connect_writing, translated
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.maintenance import refresh
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE, RESTORE_FILE, tables_of
from search_app.stores.embedded.state import holds_index, last_commit, read_format, read_manifest
from search_app.stores.embedded.verify import Part, examine, examine_rows

_SOURCE_TABLES = ("files", "documents", "vectors", "passages", "removed")
_LOST = "restore it with: search-index rollback, search-index restore, or search-index apply --rebuild PATH"
_INVALID = (apsw.SQLError, apsw.ConstraintError, ValueError, TypeError, AttributeError)
"""Raised for invalid columns, rows or metadata."""


def repair(files: Files, folder: Path, settings: VectorSettings, *, collection: str) -> list[str]:
    """Returns what was done and what cannot be repaired. The caller holds the writer lock."""
    found = examine(folder, collection=collection)
    parts = {problem.part for problem in found}
    done = _lost_commits(folder) if Part.GENERATION in parts else []
    if Part.SOURCE in parts or Part.ROWS in parts:
        try:
            _rewrite(files, folder)
        except IndexCorrupt as error:
            lost = [problem.text for problem in found if problem.part is Part.SOURCE] or [error.message]
            return [f"{text}: this cannot be repaired; {_LOST}" for text in lost]
        done.append("rebuilt the pages, the BM25 index and the filter attributes from the documents")
    elif done:
        _begin_lineage(files, folder)
    elif Part.GENERATION in parts:
        _record(files, folder)
        done.append(f"rewrote {folder / generation.GENERATION_FILE}")
    if Part.CACHES in parts or Part.SOURCE in parts or Part.ROWS in parts:
        path = folder / INDEX_FILE
        with closing(connect_writing(path)) as db, translated(path):
            caches.drop(files, db, folder)
            refresh(db, folder, files, settings, fresh=True)
            publish.checkpoint(db)
            done.append("rebuilt the caches")
    if Part.PREVIOUS in parts:
        publish.delete(files, folder / PREVIOUS_FILE)
        done.append(f"deleted the damaged {folder / PREVIOUS_FILE}: rollback has no index to return to")
    return done


def _lost_commits(folder: Path) -> list[str]:
    """What is missing if the index is behind the recorded generation, or is another index."""
    path = folder / INDEX_FILE
    with suppress(IndexCorrupt, apsw.SQLError), closing(connect_reading(path)) as db, translated(path):
        lineage, number = last_commit(db)
        recorded = generation.read(folder)
        try:
            generation.require(recorded, folder, lineage, number)
        except IndexCorrupt:
            assert recorded is not None
            if lineage != recorded.lineage:
                return [f"{path} is not the index that was written there, which is lost; {_LOST}"]
            return [
                f"commits {number + 1} to {recorded.generation} are lost: index their files again with: "
                "search-index apply PATH"
            ]
    return []


def _begin_lineage(files: Files, folder: Path) -> None:
    """Row numbers of lost commits may be reused, so readers that know those must start over."""
    path = folder / INDEX_FILE
    with closing(connect_writing(path)) as db, translated(path):
        recorded = generation.read(folder)
        _, number = last_commit(db)
        successor, first = publish.new_lineage(), max(number, recorded.generation if recorded else 0) + 1
        generation.announce(files, folder, successor)
        with db:
            db.execute("UPDATE manifest SET lineage = ?, generation = ?", (successor, first))
        generation.record(files, folder, successor, first)


def _record(files: Files, folder: Path) -> None:
    path = folder / INDEX_FILE
    with closing(connect_reading(path)) as db, translated(path):
        generation.record(files, folder, *last_commit(db))


def _rewrite(files: Files, folder: Path) -> None:
    """Copy the source tables to a new file, derive the rest, and serve that file.

    Raises IndexCorrupt if the source tables themselves are damaged.
    """
    new, served = folder / RESTORE_FILE, folder / INDEX_FILE
    publish.delete(files, new)
    try:
        with closing(connect_writing(new)) as db, translated(served):
            db.execute("ATTACH ? AS served", (str(served),))
            if not holds_index(db, schema="served"):
                raise IndexCorrupt(f"{served} contains no index")
            with db:
                db.execute(tables_of(read_format(db, schema="served")))
                db.execute("INSERT INTO manifest SELECT * FROM served.manifest")
                for table in _SOURCE_TABLES:
                    db.execute(f"INSERT INTO {table} SELECT * FROM served.{table}")
                upgrade.upgrade(db)
                upgrade.derive(db, read_manifest(db))
            db.execute("DETACH served")
            for problem in examine_rows(db, new):
                raise IndexCorrupt(problem.text)
    except BaseException as error:
        publish.delete(files, new)
        if isinstance(error, _INVALID):
            raise IndexCorrupt(f"{served} does not have the tables of an index") from error
        raise
    publish.publish(files, folder, new, keep=False)
