"""What is done at the end of a job, and never in a query: caches made anew, and what was removed forgotten in time."""

from __future__ import annotations

from pathlib import Path

import apsw

from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, derived
from search_app.stores.embedded.connection import rows
from search_app.stores.embedded.files import Files

_COMMITS_KEPT = 1_000
"""Without a cache: by how many commits a reader may be behind and still take in no more than the difference."""


def refresh(db: apsw.Connection, folder: Path, files: Files, settings: VectorSettings, *, fresh: bool = False) -> None:
    """Caches that are missing or far behind, and `removed` without what nobody needs who is less than a cache behind.

    With `fresh`, caches whatever their age, and no more of `removed` than they need.
    """
    lost = [kind for kind, file in rows(db, "SELECT kind, file FROM caches") if not (folder / file).exists()]
    if lost:
        caches.drop(files, db, folder, lost)
    before = rows(db, "SELECT generation FROM caches")
    derived.refresh_caches(db, folder, files, settings, fresh=fresh)
    after = rows(db, "SELECT generation FROM caches")
    now, since = rows(db, "SELECT generation, removals_since FROM manifest")[0]
    if not fresh and before == after and before:
        return
    floor = min(after + ([now] if fresh else before or [now - _COMMITS_KEPT]))
    if floor > since:
        with db:
            db.execute("DELETE FROM removed WHERE generation <= ?", (floor,))
            db.execute("UPDATE manifest SET removals_since = ?", (floor,))
