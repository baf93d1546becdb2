"""The one row of the `manifest` table: how an index was built, and its last commit."""

from __future__ import annotations

import json
from typing import NamedTuple

import apsw

from search_app.manifest import READABLE, Manifest
from search_app.stores.embedded.connection import rows


class Commit(NamedTuple):
    """The state of the index that a transaction sees.

    A lineage is one series of commits, with ascending generations and row numbers that are never reused.
    `removals_since`: the table `removed` is complete for readers that know this generation or a later one.
    """

    lineage: str
    generation: int
    removals_since: int

    @classmethod
    def read(cls, db: apsw.Connection) -> Commit:
        return cls(*rows(db, "SELECT lineage, generation, removals_since FROM manifest")[0])


def last_commit(db: apsw.Connection) -> tuple[str, int]:
    """Lineage and generation, also of earlier formats."""
    lineage, generation = rows(db, "SELECT lineage, generation FROM manifest")[0]
    return lineage, generation


def holds_index(db: apsw.Connection, *, schema: str = "main") -> bool:
    """Whether the database has an index's tables."""
    return bool(rows(db, f"SELECT count(*) FROM {schema}.sqlite_schema WHERE name = 'manifest'")[0])


def read_format(db: apsw.Connection, *, schema: str = "main") -> int:
    """Of an index that `read_manifest` accepts."""
    return int(json.loads(rows(db, f"SELECT json FROM {schema}.manifest")[0])["format"])


def read_manifest(db: apsw.Connection, *, oldest: int = READABLE) -> Manifest:
    """Raises IndexMismatch for a format older than `oldest` or newer than this program's."""
    return Manifest.from_json(rows(db, "SELECT json FROM manifest")[0], oldest=oldest)
