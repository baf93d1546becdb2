"""Giving back the space of what was removed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from search_app.settings import VectorSettings
from search_app.stores.embedded import generation, publish, upgrade
from search_app.stores.embedded.connection import connect_writing, rows, translated
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.maintenance import refresh
from search_app.stores.embedded.schema import INDEX_FILE, RESTORE_FILE


def compact(files: Files, folder: Path, settings: VectorSettings) -> None:
    """For whoever holds the writer's lock. Readers go on: they see the same rows, under a new generation.

    The smaller copy is made in the folder, not where temporary files go, and published in one transaction.
    """
    path, new = folder / INDEX_FILE, folder / RESTORE_FILE
    with closing(connect_writing(path)) as db, translated(path):
        lineage, number = rows(db, "SELECT lineage, generation FROM manifest")[0]
        generation.require(generation.read(folder), folder, lineage, number)
        upgrade.upgrade(db)
        with db:
            db.execute("DELETE FROM vectors WHERE rowid NOT IN (SELECT vector FROM passages WHERE vector IS NOT NULL)")
        refresh(db, folder, files, settings, fresh=True)
        publish.delete(files, new)
        db.execute("VACUUM INTO ?", (str(new),))
        with closing(connect_writing(new)) as smaller:
            with smaller:
                smaller.execute("UPDATE manifest SET generation = generation + 1")
            lineage, number = rows(smaller, "SELECT lineage, generation FROM manifest")[0]
            publish.copy(smaller, db)
    generation.record(files, folder, lineage, number)
    publish.delete(files, new)
