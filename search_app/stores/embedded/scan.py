"""Read all passages that match a filter, in batches."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from search_app.errors import IndexCorrupt
from search_app.protocols import FileRecord
from search_app.stores import filters
from search_app.stores.embedded import attributes, checksums, stored
from search_app.stores.embedded.connection import Reader, rows
from search_app.types import Filter, Passage, PassageBatch

_ROWS = 1_000
_LAST = (1 << 63) - 1
_PASSAGES_OF = f"""SELECT {stored.DOCUMENT}, p.* FROM documents d JOIN passages p ON p.document = d.rowid
WHERE d.id = ? AND p.end > ? AND p.start < ? ORDER BY p.start, p.rowid LIMIT ?"""
_OWNER = stored.DOCUMENT.count(",") + 1
"""Columns of the document before those of the passage."""


def passages(
    path: Path, dim: int, where: Filter | None, *, ids: Sequence[str] | None, vectors: bool
) -> Iterator[PassageBatch]:
    """Uses its own connection: the caller may query the store between two batches."""
    with closing(Reader(path)) as reader, reader.transaction() as db:
        conditions, parameters = _conditions(db, where, ids)
        embedding, joined = ("v.embedding, v.checksum", "LEFT JOIN vectors v ON v.rowid = p.vector") if vectors else (
            "NULL, NULL", "")  # fmt: skip
        found = db.execute(
            f"SELECT {embedding}, {stored.DOCUMENT}, p.* FROM passages p JOIN documents d ON d.rowid = p.document"
            f" {joined} WHERE {conditions} ORDER BY p.rowid",
            parameters,
        )
        while batch := list(itertools.islice(found, _ROWS)):
            yield _batch(batch, dim if vectors else 0)


def passages_of(db: apsw.Connection, document_id: str, *, limit: int, start: int, end: int | None) -> list[Passage]:
    """As in `search_app.protocols.PassageStore`."""
    found = rows(db, _PASSAGES_OF, (document_id, start, _LAST if end is None else end, limit))
    return list(_batch([(None, None, *columns) for columns in found], 0).passages)


def files(page: Callable[[str], list[Any]]) -> Iterator[FileRecord]:
    """All file records; `page` returns those after a path, in order of path."""
    after = ""
    while found := page(after):
        yield from (FileRecord(*row) for row in found)
        after = found[-1][0]


def count(db: apsw.Connection, where: Filter) -> int:
    """The number of passages that match a filter."""
    conditions, parameters = _conditions(db, where, None)
    return int(rows(db, f"SELECT count(*) FROM passages p WHERE {conditions}", parameters)[0])


def _conditions(db: apsw.Connection, where: Filter | None, ids: Sequence[str] | None) -> tuple[str, list[Any]]:
    conditions, parameters = ["1"], list[Any]()
    if where is not None:
        matching = attributes.matching(db, filters.check(where, rows(db, "SELECT name FROM fields") or None))
        conditions.append("p.document IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(matching.tolist()))
    if ids is not None:
        conditions.append("p.id IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(list(ids)))
    return " AND ".join(conditions), parameters


def _batch(found: Sequence[Any], dim: int) -> PassageBatch:
    embeddings = np.full((len(found), dim), np.nan, dtype=np.float32)
    passages = []
    for position, (blob, checksum, *columns) in enumerate(found):
        owner, held = columns[:_OWNER], columns[_OWNER:]
        stored.check_passage(held)
        passages.append(stored.passage(held, stored.document(owner)))
        vector = held[3]
        if dim and vector is not None:
            embeddings[position] = _vector(vector, blob, checksum)
    return PassageBatch(tuple(passages), embeddings)


def _vector(row: int, blob: bytes | None, checksum: int) -> NDArray[np.float32]:
    if not blob:
        raise IndexCorrupt(f"vector {row} is missing from the index")
    checksums.require("vector", row, checksum, checksums.of_vector(row, blob))
    return np.frombuffer(blob, dtype="<f4")
