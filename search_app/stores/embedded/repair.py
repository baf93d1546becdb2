"""Making anew what is derived and does not hold, from the truth, which is only read for it."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import apsw

from search_app.errors import IndexCorrupt
from search_app.manifest import Manifest
from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, generation, publish, upgrade
from search_app.stores.embedded.connection import connect_reading, connect_writing, rows, translated
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.maintenance import refresh
from search_app.stores.embedded.schema import INDEX_FILE, PREVIOUS_FILE, RESTORE_FILE, TABLES
from search_app.stores.embedded.verify import Part, examine, examine_rows

_TRUTH = ("files", "documents", "vectors", "passages", "removed")
_LOST = "bring it back with: search-index rollback, search-index restore, or search-index apply --rebuild PATH"

_MAKES_NO_SENSE = (apsw.SQLError, apsw.ConstraintError, ValueError, TypeError, AttributeError)
"""What columns, rows or metadata that are none raise."""


def repair(files: Files, folder: Path, settings: VectorSettings, *, collection: str) -> list[str]:
    """For whoever holds the writer's lock; returns what was done and what cannot be."""
    found = examine(folder, collection=collection)
    parts = {problem.part for problem in found}
    done = _lost_commits(folder) if Part.GENERATION in parts else []
    if Part.TRUTH in parts or Part.ROWS in parts:
        try:
            _rewrite(files, folder)
        except IndexCorrupt as error:
            lost = [problem.text for problem in found if problem.part is Part.TRUTH] or [error.message]
            return [f"{text}: this cannot be derived again; {_LOST}" for text in lost]
        done.append("pages, the BM25 index and what filters look at were made anew from the documents")
    elif done:
        _begin_lineage(files, folder)
    elif Part.GENERATION in parts:
        _record(files, folder)
        done.append(f"{folder / generation.GENERATION_FILE} was written anew")
    if Part.CACHES in parts or Part.TRUTH in parts or Part.ROWS in parts:
        path = folder / INDEX_FILE
        with closing(connect_writing(path)) as db, translated(path):
            caches.drop(files, db, folder)
            refresh(db, folder, files, settings, fresh=True)
            publish.checkpoint(db)
            done.append("the caches were made anew")
    if Part.PREVIOUS in parts:
        publish.delete(files, folder / PREVIOUS_FILE)
        done.append(f"{folder / PREVIOUS_FILE} was damaged and is gone: there is no earlier index to go back to")
    return done


def _lost_commits(folder: Path) -> list[str]:
    """What the recorded generation tells of an index that is behind it, or is another one."""
    path = folder / INDEX_FILE
    with suppress(IndexCorrupt, apsw.SQLError), closing(connect_reading(path)) as db, translated(path):
        lineage, number = rows(db, "SELECT lineage, generation FROM manifest")[0]
        recorded = generation.read(folder)
        try:
            generation.require(recorded, folder, lineage, number)
        except IndexCorrupt:
            assert recorded is not None
            if lineage != recorded.lineage:
                return [f"{path} is another index than was written here, which is lost and served no more; {_LOST}"]
            return [
                f"the commits {number + 1} to {recorded.generation} are lost: index their files again with: "
                "search-index apply PATH"
            ]
    return []


def _begin_lineage(files: Files, folder: Path) -> None:
    """Row numbers may be used again, so whoever knows the lost commits begins anew."""
    path = folder / INDEX_FILE
    with closing(connect_writing(path)) as db, translated(path):
        recorded = generation.read(folder)
        number = rows(db, "SELECT generation FROM manifest")[0]
        successor, first = publish.new_lineage(), max(number, recorded.generation if recorded else 0) + 1
        generation.announce(files, folder, successor)
        with db:
            db.execute("UPDATE manifest SET lineage = ?, generation = ?", (successor, first))
        generation.record(files, folder, successor, first)


def _record(files: Files, folder: Path) -> None:
    path = folder / INDEX_FILE
    with closing(connect_reading(path)) as db, translated(path):
        generation.record(files, folder, *rows(db, "SELECT lineage, generation FROM manifest")[0])


def _rewrite(files: Files, folder: Path) -> None:
    """All rows of the truth into a new file, the rest derived from them, in place of the served one.

    Raises IndexCorrupt where the truth itself does not hold.
    """
    new, served = folder / RESTORE_FILE, folder / INDEX_FILE
    publish.delete(files, new)
    try:
        with closing(connect_writing(new)) as db, translated(served):
            db.execute("ATTACH ? AS served", (str(served),))
            if not rows(db, "SELECT count(*) FROM served.sqlite_schema WHERE name = 'manifest'")[0]:
                raise IndexCorrupt(f"{served} holds no index")
            with db:
                db.execute(TABLES)
                db.execute("INSERT INTO manifest SELECT * FROM served.manifest")
                for table in _TRUTH:
                    db.execute(f"INSERT INTO {table} SELECT * FROM served.{table}")
                upgrade.derive(db, Manifest.from_json(rows(db, "SELECT json FROM manifest")[0]))
            db.execute("DETACH served")
            for problem in examine_rows(db, new):
                raise IndexCorrupt(problem.text)
    except BaseException as error:
        publish.delete(files, new)
        if isinstance(error, _MAKES_NO_SENSE):
            raise IndexCorrupt(f"{served} is not an index as this program makes it") from error
        raise
    publish.publish(files, folder, new, keep=False)
