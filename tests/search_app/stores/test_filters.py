from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.errors import InvalidQuery
from search_app.stores import filters
from search_app.stores.filters import parse_where


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("author = Ada Lovelace", 'author = "Ada Lovelace"'),
        ("author = Ada King Lovelace and size > 3", 'author = "Ada King Lovelace" and size > 3'),
        ("(title in [x, War  Diary] OR size = 1)", '(title in [x, "War  Diary"] OR size = 1)'),
    ],
)
def test_a_value_with_spaces_needs_quotes_and_the_error_shows_the_corrected_filter(text: str, corrected: str) -> None:
    with pytest.raises(InvalidQuery, match="needs quotes") as caught:
        parse_where(text)
    assert caught.value.hint == f"write: {corrected}"
    assert parse_where(corrected)


def test_text_is_parsed_to_haystacks_grammar() -> None:
    assert parse_where("modified>=2026-01-01") == {
        "field": "meta.modified", "operator": ">=", "value": "2026-01-01",
    }  # fmt: skip
    assert parse_where('author = "Ada L." and not (size > 10 or format in [pdf, html])') == {
        "operator": "AND",
        "conditions": [
            {"field": "meta.author", "operator": "==", "value": "Ada L."},
            {
                "operator": "NOT",
                "conditions": [
                    {
                        "operator": "OR",
                        "conditions": [
                            {"field": "meta.size", "operator": ">", "value": 10},
                            {"field": "meta.format", "operator": "in", "value": ["pdf", "html"]},
                        ],
                    }
                ],
            },
        ],
    }
    assert parse_where("draft = true")["value"] is True
    assert parse_where("author exists") == {"field": "meta.author", "operator": "!=", "value": None}
    assert parse_where("not author Missing or exists exists") == {
        "operator": "OR",
        "conditions": [
            {"operator": "NOT", "conditions": [{"field": "meta.author", "operator": "==", "value": None}]},
            {"field": "meta.exists", "operator": "!=", "value": None},
        ],
    }
    assert parse_where("ratio < 0.5")["value"] == 0.5


@pytest.mark.parametrize(
    "text", ["", "size", "size >", "> 3", "size 3", "(size = 3", "size = 3)", "a = 1 b = 2", "a in b", "a not b",
             'a = "', "a in []", "(" * 50 + "a = 1" + ")" * 50],
)  # fmt: skip
def test_a_syntax_error_gives_an_example(text: str) -> None:
    with pytest.raises(InvalidQuery, match="filter"):
        parse_where(text)


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_invalid_query(text: str) -> None:
    with contextlib.suppress(InvalidQuery):
        filters.check(parse_where(text))


@pytest.mark.parametrize(
    "where",
    [
        {"operator": "XOR", "conditions": []},
        {"operator": "AND"},
        {"operator": "AND", "conditions": ["x"]},
        {"field": "meta.a", "operator": "~", "value": 1},
        {"field": "meta.a", "operator": "=="},
        {"field": "meta.a", "operator": "<", "value": float("nan")},
        {"field": "meta.a", "operator": "in", "value": [1, float("nan")]},
        {"field": "meta.a", "operator": "in", "value": [[1]]},
        {"field": "meta.a", "operator": "==", "value": {"$gt": 1}},
        {"field": "meta.a", "operator": "in", "value": "text"},
        {"field": 7, "operator": "==", "value": 1},
        {},
    ],
)
def test_a_filter_outside_the_grammar_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery):
        filters.check(where)


A: dict[str, Any] = {
    "empty": [],
    "none": None,
    "text": "b",
    "whole": 2**53 + 1,
    "half": 0.5,
    "one": 1.0,
    "yes": True,
    "tags": ["x", "x", "y"],
    "day": "2026-02-01",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text exists", True), ("ghost exists", False), ("empty exists", False), ("none exists", False),
        ("ghost missing", True), ("empty missing", True), ("none missing", True), ("tags missing", False),
        ("text >= b", True), ("text > b", False), ("text < 3", False), ("day >= 2026-01 and day < 2026-02-02", True),
        (f"whole = {2**53}", False), (f"whole > {float(2**53)}", True), (f"whole < {2**63}", True),
        ("half > 0", True), ("one = 1", True), ("yes = 1", False), ("one = true", False), ("yes > false", True),
        ("tags = y", True), ("tags != y", False), ("tags in [z, x]", True), ("tags not in [z]", True),
        ("ghost != 1", True), ("ghost not in [1]", True), ("ghost < 1", False), ("not (ghost < 1)", True),
    ],
)  # fmt: skip
def test_a_filter_has_the_documented_semantics(text: str, expected: bool) -> None:
    assert filters.matches(parse_where(text), A) is expected


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">="])
def test_order_comparisons_with_none_never_match(comparison: str) -> None:
    assert not filters.matches({"field": "meta.half", "operator": comparison, "value": None}, A)
    assert not filters.matches({"field": "meta.ghost", "operator": comparison, "value": None}, A)


def test_a_list_with_none_matches_missing_values() -> None:
    where = {"field": "meta.half", "operator": "in", "value": [0.5, None]}
    assert filters.matches(where, A)
    assert filters.matches(where, {})
    assert not filters.matches({**where, "operator": "not in"}, {})
    assert filters.matches({**where, "operator": "not in"}, {"half": 1})


def test_a_filter_that_is_too_deep_or_too_long_is_refused() -> None:
    leaf = {"field": "meta.a", "operator": "==", "value": 1}
    deep: dict[str, Any] = leaf
    for _ in range(100):
        deep = {"operator": "NOT", "conditions": [deep]}
    for where in (deep, {"operator": "OR", "conditions": [leaf] * 1000}):
        with pytest.raises(InvalidQuery, match="can have"):
            filters.check(where)
