"""Metadata as rows of an index: the cost of a filter depends on its matches, and it reads no documents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import apsw
import numpy as np

from search_app.stores import filters
from search_app.stores.vectors.index import Rows
from search_app.types import Filter, Meta

_OTHER, _TEXT, _NUMBER, _BOOL, _LARGE = range(5)
"""Values of one kind compare with each other. _TEXT is stored as UTF-8, which sorts by code point, surrogates included;
_LARGE are integers beyond 64 bits; _OTHER compares with nothing."""
_INT64 = 1 << 63
_COMPLEMENT = str.maketrans("0123456789abcdef", "fedcba9876543210")

Comparison = tuple[int, str, Any]
"""Kind, operator, value: a range of the index."""


def write(db: apsw.Connection, document_row: int, meta: Meta) -> None:
    """Runs in the caller's transaction, for a document without attributes."""
    db.executemany("INSERT OR IGNORE INTO fields(name, kind) VALUES (?, ?)", list(filters.field_kinds(meta)))
    db.executemany(
        "INSERT OR IGNORE INTO attributes SELECT id, ?, ?, ? FROM fields WHERE name = ?",
        [(*_stored(item), document_row, name) for name, value in meta.items() for item in filters.items(value)],
    )


def remove(db: apsw.Connection, document_rows: Rows) -> None:
    """Field names stay."""
    db.executemany("DELETE FROM attributes WHERE document = ?", [(row,) for row in document_rows.tolist()])


def matching(db: apsw.Connection, where: Filter) -> Rows:
    """Rows of the matching documents, ascending; `where` must have passed `filters.check`."""
    found, all_but = _matching(db, where)
    if not all_but:
        return found
    return np.setdiff1d(_rows(db, "SELECT group_concat(rowid) FROM documents"), found, assume_unique=True)


def _matching(db: apsw.Connection, where: Filter) -> tuple[Rows, bool]:
    """Rows, and whether their complement matches: negations are kept as complements, which need no scan."""
    if "field" not in where:
        kind = where["operator"]
        parts = [_matching(db, condition) for condition in filters.conditions(where)]
        if kind == "OR":  # not (none of them)
            found, all_but = _all([(found, not all_but) for found, all_but in parts])
            return found, not all_but
        found, all_but = _all(parts)
        return found, all_but != (kind == "NOT")
    comparison, values, negated = filters.comparison_of(where)
    field = db.execute("SELECT id FROM fields WHERE name = ?", (filters.field_name(where),)).get
    if field is None:
        return _NOTHING, negated != (comparison == "==" and None in values)
    found = _union(
        _rows(db, f"{_IN_FIELD} AND kind = ? AND value {sign} ?", (field, kind, value))
        for wanted in values
        for kind, sign, value in _ranges(comparison, wanted)
    )
    if comparison == "==" and None in values:  # the field is missing or has one of the values
        return np.setdiff1d(_rows(db, _IN_FIELD, (field,)), found, assume_unique=True), not negated
    return found, negated


_NOTHING: Rows = np.zeros(0, dtype=np.int64)
_IN_FIELD = "SELECT group_concat(document) FROM attributes WHERE field = ?"


def _all(parts: list[tuple[Rows, bool]]) -> tuple[Rows, bool]:
    wanted = sorted((found for found, all_but in parts if not all_but), key=len)
    unwanted = _union(found for found, all_but in parts if all_but)
    if not wanted:
        return unwanted, True
    found = wanted[0]
    for other in wanted[1:]:
        found = np.intersect1d(found, other, assume_unique=True)
    return np.setdiff1d(found, unwanted, assume_unique=True), False


def _union(parts: Iterator[Rows]) -> Rows:
    found = [part for part in parts if len(part)]
    return _ascending(np.concatenate(found)) if len(found) > 1 else found[0] if found else _NOTHING


def _ascending(rows: Rows) -> Rows:
    """Sorted and distinct; several times as fast as `numpy.unique`."""
    rows = np.sort(rows)
    return rows[np.concatenate([[True], rows[1:] != rows[:-1]])] if len(rows) else rows


def _rows(db: apsw.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> Rows:
    """Fetched as one text, which is several times as fast as row by row."""
    found = db.execute(sql, parameters).get
    return _ascending(np.fromstring(found, dtype=np.int64, sep=",")) if found else _NOTHING


def _stored(item: object) -> tuple[int, Any]:
    kind = filters.kind_of(item)
    if kind == "text":
        return _TEXT, _bytes(str(item))
    if kind == "bool":
        return _BOOL, int(bool(item))
    if kind == "number":
        assert isinstance(item, int | float)
        if isinstance(item, int) and not -_INT64 <= item < _INT64:
            return _LARGE, _large(item)
        return _NUMBER, item
    return _OTHER, 0


def _ranges(comparison: str, value: object) -> Iterator[Comparison]:
    sign = "=" if comparison == "==" else comparison
    kind = filters.kind_of(value)
    if kind == "text":
        yield _TEXT, sign, _bytes(str(value))
    elif kind == "bool":
        yield _BOOL, sign, int(bool(value))
    elif kind == "number":
        assert isinstance(value, int | float)
        yield from _numbers(sign, value)


def _numbers(sign: str, value: int | float) -> Iterator[Comparison]:
    """SQLite compares 64-bit integers with doubles exactly, as Python does; larger integers are converted."""
    if isinstance(value, float) or -_INT64 <= value < _INT64:
        yield _NUMBER, sign, value
    else:
        try:
            nearest = float(value)
        except OverflowError:
            nearest = math.inf if value > 0 else -math.inf
        if nearest == value:
            yield _NUMBER, sign, nearest
        elif sign != "=":
            above = nearest > value
            yield _NUMBER, (">=" if above else ">") if ">" in sign else ("<" if above else "<="), nearest
    if isinstance(value, float) and math.isinf(value):
        if (value > 0) == ("<" in sign) and sign != "=":
            yield _LARGE, "IS NOT", None
    elif value == (whole := math.floor(value)):
        yield _LARGE, sign, _large(whole)
    elif sign != "=":
        yield _LARGE, ">" if ">" in sign else "<=", _large(whole)


def _large(value: int) -> bytes:
    """Bytes that sort like the numbers."""
    digits = f"{abs(value):x}"
    written = f"{len(digits):08x}{digits}"
    return ("1" + written if value >= 0 else "0" + written.translate(_COMPLEMENT)).encode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
