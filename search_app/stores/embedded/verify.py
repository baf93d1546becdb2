"""Reads an index whole: page checksums, SQLite's own structure, and that its parts agree with each other."""

from __future__ import annotations

from pathlib import Path

import apsw
import numpy as np

from search_app.errors import IndexCorrupt, IndexNotFound
from search_app.manifest import Manifest
from search_app.stores.embedded.connection import connect_reading, rows, translated
from search_app.stores.embedded.schema import INDEX_FILE

_DISAGREEMENTS = {
    "passages without a vector": "SELECT count(*) FROM passages WHERE vector NOT IN (SELECT rowid FROM vectors)",
    "passages without a document": "SELECT count(*) FROM passages WHERE document NOT IN (SELECT rowid FROM documents)",
    "passages missing from the BM25 index": (
        "SELECT count(*) FROM passages WHERE rowid NOT IN (SELECT id FROM terms_docsize)"
    ),
    "BM25 entries without a passage": "SELECT count(*) FROM terms_docsize WHERE id NOT IN (SELECT rowid FROM passages)",
    "documents without a file": "SELECT count(*) FROM documents WHERE file NOT IN (SELECT id FROM files)",
    "passages that do not stand at their place": (
        "SELECT count(*) FROM passages p JOIN documents d ON d.rowid = p.document"
        " WHERE length(d.text) < 1000000 AND substr(d.text, p.start + 1, p.end - p.start) != p.text"
    ),
}
_UNIT = 1e-2


def verify(folder: Path, *, collection: str) -> list[str]:
    """What is wrong, in words; an empty list for a sound index. Raises IndexNotFound."""
    path = folder / INDEX_FILE
    if not path.exists():
        raise IndexNotFound(collection)
    try:
        db = connect_reading(path)
    except IndexCorrupt as error:
        return [error.message]
    try:
        with translated(path):
            return _problems(db)
    except IndexCorrupt as error:
        return [error.message]
    finally:
        db.close()


def _problems(db: apsw.Connection) -> list[str]:
    problems = [str(row) for row in rows(db, "PRAGMA integrity_check") if row != "ok"]
    problems += [f"{count} {what}" for what, sql in _DISAGREEMENTS.items() if (count := rows(db, sql)[0])]
    dim = Manifest.from_json(rows(db, "SELECT json FROM manifest")[0]).encoder.dim
    for key, blob in db.execute("SELECT key, embedding FROM vectors"):
        vector = np.frombuffer(blob, dtype="<f4")
        if vector.shape != (dim,) or abs(float(np.linalg.norm(vector)) - 1) > _UNIT:
            problems.append(f"vector {str(key)[:12]} is not a unit vector of {dim} numbers")
    return problems
