"""Filters over the table `attributes` compared with their definition, and their query plans."""

from __future__ import annotations

from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search_app.stores import filters
from search_app.stores.embedded import attributes
from search_app.stores.embedded.schema import TABLES
from search_app.stores.filters import parse_where

NAMES = st.sampled_from(["size", "tags", "a.b", "odd \"name's", "ü", " ", "meta.x", "$", "[0]", "rowid"])
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -0.0, 1e308, float("inf"), float("-inf"), 2.0**53, 2.0**63, -(2.0**63), 1e300]),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, -(2**63), -(2**63) - 1, 2**64, -(2**64), 10**400]),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
)
SCALARS = st.one_of(
    NUMBERS,
    st.booleans(),
    st.sampled_from(["", "a", "b", "1", "true", "2026-01-01", "2026-02", "2026-02-01T10:00:00Z", "a\0b", "\ud800"]),
    st.sampled_from(["%", "_", "a'", 'a"', "\uffff", "\U0001f600", "ß", "SS"]),
    st.text(max_size=3),
)
STORED = st.one_of(SCALARS, st.none(), st.just(float("nan")), st.lists(SCALARS | st.none(), max_size=4))
METAS = st.dictionaries(NAMES | st.just(""), STORED, max_size=4)


def compare(operators: list[str], values: Any) -> Any:
    return st.builds(
        lambda name, operator, value: {"field": f"meta.{name}", "operator": operator, "value": value},
        NAMES,
        st.sampled_from(operators),
        values,
    )


FILTERS = st.recursive(
    compare(["==", "!=", "<", "<=", ">", ">="], SCALARS | st.none())
    | compare(["in", "not in"], st.lists(SCALARS | st.none(), max_size=4)),
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


def tables() -> apsw.Connection:
    db = apsw.Connection(":memory:")
    db.execute(TABLES)
    db.execute("INSERT INTO files VALUES (1, 'f', 'f', '', 0, 0, 0)")
    return db


def put(db: apsw.Connection, row: int, meta: Any) -> None:
    db.execute(
        "INSERT INTO documents(rowid, id, file, title, source, language, meta, headings, pages, text, checksum,"
        " text_checksum) VALUES (?, ?, 1, '', '', '', '', '', '', '', 0, 0)",
        (row, str(row)),
    )
    attributes.write(db, row, meta)


def record(db: apsw.Connection, statements: list[tuple[str, Any]]) -> None:
    def trace(_: object, sql: str, bindings: Any) -> bool:
        statements.append((sql, bindings))
        return True

    db.exec_trace = trace


def found(db: apsw.Connection, where: Any) -> list[int]:
    rows = attributes.matching(db, filters.check(where))
    assert rows.dtype == np.int64
    return [int(row) for row in rows]


def at(name: str, operator: str, value: object) -> dict[str, object]:
    return {"field": f"meta.{name}", "operator": operator, "value": value}


@settings(max_examples=500, deadline=None)
@given(FILTERS, st.lists(METAS, max_size=8), st.sets(st.integers(1, 8)))
@example(at("size", "<", 2**64), [{"size": 2**63}, {"size": 1e300}, {"size": -(10**400)}], set())
@example(at("size", "==", 2**63), [{"size": 2.0**63}, {"size": 2**63 + 1}], set())
@example(at("size", ">=", float("-inf")), [{"size": -(10**400)}, {"size": float("-inf")}], set())
def test_a_filter_finds_exactly_the_matching_documents(where: dict[str, Any], metas: list[Any], gone: set[int]) -> None:
    db = tables()
    for row, meta in enumerate(metas, start=1):
        put(db, row, meta)
    attributes.remove(db, np.array(sorted(gone), dtype=np.int64))
    db.executemany("DELETE FROM documents WHERE rowid = ?", [(row,) for row in gone])
    there = {row: meta for row, meta in enumerate(metas, start=1) if row not in gone}
    assert found(db, where) == [row for row, meta in there.items() if filters.matches(where, meta)]
    assert db.execute("SELECT count(*) FROM attributes WHERE document NOT IN (SELECT rowid FROM documents)").get == 0


def test_text_is_ordered_by_code_point() -> None:
    texts = ["", "\0", "a", "a\0", "ab", "ß", "\ud800", "\udfff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
    db = tables()
    for row, text in enumerate(texts, start=1):
        put(db, row, {"x": text})
    for row, text in enumerate(texts, start=1):
        assert found(db, at("x", "<", text)) == list(range(1, row))
        assert found(db, at("x", "==", text)) == [row]


def test_integers_beyond_64_bits_are_ordered() -> None:
    numbers = [-(16**20), -(16**20) + 1, -(2**64) - 1, -(2**64), -(2**63) - 1, -(2**63), -1, 0, 1, 2**63 - 1, 2**63,
               2**64, 2**64 + 1, 16**20 - 1, 16**20]  # fmt: skip
    db = tables()
    for row, number in enumerate(numbers, start=1):
        put(db, row, {"x": number})
    for row, number in enumerate(numbers, start=1):
        assert found(db, at("x", "<", number)) == list(range(1, row))
        assert found(db, at("x", ">=", number)) == list(range(row, len(numbers) + 1))
        assert found(db, at("x", "==", number)) == [row]


def test_a_document_with_several_matching_values_is_found_once() -> None:
    db = tables()
    put(db, 7, {"tags": ["b", "a", "b", "c"], "mixed": [1, 1.0, True, "1"]})
    assert found(db, at("tags", ">=", "a")) == [7]
    assert found(db, at("tags", "in", ["a", "b", "a"])) == [7]
    assert db.execute("SELECT count(*) FROM attributes").get == 3 + 3


def test_field_names_and_kinds_outlive_their_documents() -> None:
    db = tables()
    put(db, 1, {"size": 3, "tags": [], 'q"': True, "": 1.5})
    attributes.remove(db, np.array([1]))
    fields = dict(db.execute("SELECT name, kind FROM fields"))
    assert fields == {"size": "number", "tags": "list", 'q"': "true or false", "": "number"}


@pytest.mark.parametrize(
    "text",
    ["size < 3", "size = 3 or size >= 7.5", f"size > {2**64}", "author in [a, b]", "not (flag = true)", "author exists",
     "author missing", "not (size != 3)", "size <= inf"],
)  # fmt: skip
def test_a_comparison_is_an_index_range_scan(text: str) -> None:
    db = tables()
    put(db, 1, {"size": 3, "author": "a", "flag": True})
    statements: list[tuple[str, Any]] = []
    record(db, statements)
    attributes.matching(db, parse_where(text))
    db.exec_trace = None
    assert statements
    for sql, bindings in statements:
        plan = [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
        if "FROM documents" in sql:  # the rows alone, for what is meant by a negation
            assert plan == ["SCAN documents USING COVERING INDEX documents_file"]
        elif "FROM fields" in sql:
            assert plan == ["SEARCH fields USING COVERING INDEX sqlite_autoindex_fields_1 (name=?)"]
        else:
            assert len(plan) == 1
            assert plan[0].startswith("SEARCH attributes USING PRIMARY KEY (field=?")
            assert ("value" in plan[0]) == ("value" in sql.split("WHERE")[1] and "IS NOT" not in sql)


def test_a_negation_in_a_conjunction_does_not_list_all_documents() -> None:
    db = tables()
    for row in range(1, 5):
        put(db, row, {"size": row, "author": "a" if row % 2 else "b"})
    statements: list[tuple[str, Any]] = []
    record(db, statements)
    assert found(db, parse_where("size < 4 and author != a and not (size = 3 or draft exists)")) == [2]
    assert not [sql for sql, _ in statements if "FROM documents" in sql]
