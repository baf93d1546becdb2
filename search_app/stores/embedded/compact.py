"""Free the space of removed documents."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from search_app.settings import VectorSettings
from search_app.stores.embedded import generation, publish, upgrade
from search_app.stores.embedded.connection import connect_writing, translated
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.maintenance import refresh
from search_app.stores.embedded.schema import INDEX_FILE, RESTORE_FILE
from search_app.stores.embedded.state import last_commit


def compact(files: Files, folder: Path, settings: VectorSettings) -> None:
    """Readers continue: they see the same rows, under a new generation. The caller holds the writer lock.

    The smaller copy is made in the index's folder and published in one transaction.
    """
    path, new = folder / INDEX_FILE, folder / RESTORE_FILE
    with closing(connect_writing(path)) as db, translated(path):
        generation.require(generation.read(folder), folder, *last_commit(db))
        upgrade.upgrade(db)
        upgrade.rewrite_words(db)
        with db:
            db.execute("DELETE FROM vectors WHERE rowid NOT IN (SELECT vector FROM passages WHERE vector IS NOT NULL)")
        refresh(db, folder, files, settings, fresh=True)
        publish.delete(files, new)
        db.execute("VACUUM INTO ?", (str(new),))
        with closing(connect_writing(new)) as smaller:
            with smaller:
                smaller.execute("UPDATE manifest SET generation = generation + 1")
            lineage, number = last_commit(smaller)
            publish.copy(smaller, db)
    generation.record(files, folder, lineage, number)
    publish.delete(files, new)
