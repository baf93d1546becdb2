"""The end of a job: refresh the caches and trim the table `removed`. Queries never do this."""

from __future__ import annotations

from pathlib import Path

import apsw

from search_app.settings import VectorSettings
from search_app.stores.embedded import caches, ranges
from search_app.stores.embedded.connection import rows
from search_app.stores.embedded.derived import (
    add_terms,
    count_passages,
    count_vectors,
    newest_passage,
    terms_after,
    vectors_after,
)
from search_app.stores.embedded.files import Files
from search_app.stores.embedded.postings import Postings
from search_app.stores.embedded.state import Commit, read_manifest
from search_app.stores.vectors import factory, gpu, plan

_MIN_PASSAGES = 20_000
"""Passages from which postings are cached; fewer are built in about a second."""
_MAX_POSTINGS = 8_000_000
"""Postings held in memory while they are cached, 12 bytes each; more are built in several passes."""
_MAX_CHANGE = 10
"""A cache is rebuilt when more than 1 passage in 10 has changed."""
_COMMITS_KEPT = 1_000
"""Without a cache, a reader may be this many commits behind and still update incrementally."""


def refresh(db: apsw.Connection, folder: Path, files: Files, settings: VectorSettings, *, fresh: bool = False) -> None:
    """Rebuild caches that are missing or out of date, and trim `removed` to what caches and readers still need.

    With `fresh`, rebuild every cache and trim as far as possible. The caller holds the writer lock.
    """
    lost = [kind for kind, file in rows(db, "SELECT kind, file FROM caches") if not (folder / file).exists()]
    if lost:
        caches.drop(files, db, folder, lost)
    before = rows(db, "SELECT generation FROM caches")
    refresh_caches(db, folder, files, settings, fresh=fresh)
    after = rows(db, "SELECT generation FROM caches")
    now = Commit.read(db)
    if not fresh and before == after and before:
        return
    floor = min(after + ([now.generation] if fresh else before or [now.generation - _COMMITS_KEPT]))
    if floor > now.removals_since:
        with db:
            db.execute("DELETE FROM removed WHERE generation <= ?", (floor,))
            db.execute("UPDATE manifest SET removals_since = ?", (floor,))


def describe(db: apsw.Connection, folder: Path, settings: VectorSettings) -> dict[str, object]:
    """The kind of vector index, why and its size, and the caches; loads neither."""
    count, dim, now = count_vectors(db), read_manifest(db).encoder.dim, Commit.read(db)
    planned = plan.plan_index(count, dim, settings)
    codes = bool(planned.parameters.get("codes"))
    each = plan.bytes_per_vector(dim, codes=codes) if planned.parameters else 4 * dim + 8
    return {
        "vector_index": (
            {"kind": "gpu", "why": f"vectors.device is {settings.device}"}
            if gpu.wanted(settings, count)
            else {"kind": planned.kind, **planned.parameters, "why": planned.why, "bytes": count * each}
        ),
        "caches": {
            kind: {"bytes": size, "passages_behind": _behind(db, now, kind), "there": (folder / name).is_file()}
            for kind, name, size in rows(db, "SELECT kind, file, bytes FROM caches ORDER BY kind")
        },
    }


def refresh_caches(db: apsw.Connection, folder: Path, files: Files, settings: VectorSettings, *, fresh: bool) -> None:
    """Write the caches that are missing or out of date (with `fresh`, all of them), and drop the unneeded ones."""
    now, dim, newest = Commit.read(db), read_manifest(db).encoder.dim, newest_passage(db)
    passages, vectors = count_passages(db), count_vectors(db)
    on_cpu = settings.model_copy(update={"device": "cpu"})
    compressed = plan.plan_index(vectors, dim, on_cpu).kind != "flat"
    for kind, wanted in (("postings", passages > _MIN_PASSAGES), ("vectors", compressed)):
        if not wanted:
            caches.drop(files, db, folder, [kind])
        elif fresh or _behind(db, now, kind) * _MAX_CHANGE > passages:
            try:
                arrays: caches.CacheArrays | None
                if kind == "postings":
                    arrays = _postings(db, files, folder)
                else:
                    arrays = factory.open_index(
                        dim, vectors, lambda: vectors_after(db, 0, dim), arrays=None, settings=on_cpu, may_train=True
                    ).to_arrays()
                assert arrays is not None
                caches.save(files, db, folder, kind, arrays, generation=now.generation, newest=newest)
            finally:
                ranges.clear(files, folder)


def _postings(db: apsw.Connection, files: Files, folder: Path) -> caches.CacheArrays:
    [size] = rows(db, "SELECT coalesce(sum(length(counts)), 0) FROM terms")  # two bytes per posting
    passes = -(-int(size) // (2 * _MAX_POSTINGS))
    if passes > 1:
        return ranges.postings_by_range(lambda: terms_after(db, 0), passes, files, folder)
    return add_terms(db, 0, Postings()).to_arrays()


def _behind(db: apsw.Connection, now: Commit, kind: str) -> int:
    """Passages added or removed since the cache was written; more than there are without a usable cache."""
    for generation, newest in rows(db, "SELECT generation, newest FROM caches WHERE kind = ?", (kind,)):
        if generation >= now.removals_since:
            added = rows(db, "SELECT count(*) FROM passages WHERE rowid > ?", (newest,))[0]
            removed = rows(db, "SELECT count(*) FROM removed WHERE generation > ?", (generation,))[0]
            return int(added) + int(removed)
    return count_passages(db) + 1
