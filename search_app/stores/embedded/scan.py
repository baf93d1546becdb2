"""All passages that match a filter, read from the truth, a batch at a time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from search_app.stores import filters
from search_app.stores.embedded.connection import Reader, rows
from search_app.types import Filter, Passage, PassageBatch

_ROWS = 1_000
_COLUMNS = "p.id, d.id, p.title, p.text, p.start, p.end, p.page, d.source, d.meta"


def passages(
    path: Path, dim: int, where: Filter | None, *, ids: Sequence[str] | None, vectors: bool
) -> Iterator[PassageBatch]:
    """On a connection of its own, as the caller may ask the store something else between two batches."""
    with closing(Reader(path)) as reader, reader.transaction() as db:
        conditions, parameters = _conditions(db, where, ids)
        embedding = "v.embedding" if vectors else "NULL"
        found = db.execute(
            f"SELECT {embedding}, {_COLUMNS} FROM passages p JOIN documents d ON d.rowid = p.document"
            f" LEFT JOIN vectors v ON v.rowid = p.vector WHERE {conditions} ORDER BY p.rowid",
            parameters,
        )
        while batch := list(itertools.islice(found, _ROWS)):
            yield _batch(batch, dim if vectors else 0)


def _conditions(db: apsw.Connection, where: Filter | None, ids: Sequence[str] | None) -> tuple[str, list[Any]]:
    conditions, parameters = ["1"], list[Any]()
    if where is not None:
        sql, values = filters.to_sql(filters.check(where, rows(db, "SELECT name FROM fields") or None), "d.meta")
        conditions.append(f"({sql})")
        parameters += values
    if ids is not None:
        conditions.append("p.id IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(list(ids)))
    return " AND ".join(conditions), parameters


def _batch(found: Sequence[Any], dim: int) -> PassageBatch:
    embeddings = np.full((len(found), dim), np.nan, dtype=np.float32)
    for row, (embedding, *_) in enumerate(found):
        if embedding is not None:
            embeddings[row] = np.frombuffer(embedding, dtype="<f4")
    passages = tuple(_passage(row) for row in found)
    return PassageBatch(passages, embeddings)


def _passage(row: Sequence[Any]) -> Passage:
    _, id, document_id, title, text, start, end, page, source, meta = row
    return Passage(id, document_id, title, text, start, end, page, source, json.loads(meta))
