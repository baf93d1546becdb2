"""Filters mean what they mean to Haystack itself, wherever docs/haystack.md names no difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from haystack import Document
from haystack.utils.filters import document_matches_filter
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.haystack.document_store import SearchAppDocumentStore

VALUES: dict[str, list[Any]] = {
    "number": [-3, 0, 2, 2.5, 2**53 + 1, 2.0**53],
    "word": ["", "a", "A", "ab", "ü"],
    "day": ["1969-07-21T20:17:40", "1972-12-11T19:54:58", "2026-01-01T00:00:00"],
    "flag": [True, False],
    "nested.deep": [1, 2],
    "nowhere": [7],
}
DOCUMENTS = [
    Document(
        id=str(n),
        content=f"text {n}",
        meta={
            **{
                name: VALUES[name][(n * step) % len(VALUES[name])]
                for step, name in enumerate(("number", "word", "day", "flag"), start=1)
                if n % (step + 3)
            },
            **({"nested": {"deep": n % 3}} if n % 2 else {"nested": None}),
        },
    )
    for n in range(60)
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchAppDocumentStore]:
    with closing(SearchAppDocumentStore("c", home=str(tmp_path_factory.mktemp("home")))) as store:
        store.write_documents(DOCUMENTS)
        yield store


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    def of(name: str) -> st.SearchStrategy[dict[str, Any]]:
        value = st.sampled_from([*VALUES[name], None])
        orders = [">", ">=", "<", "<="] if name in ("number", "day", "nested.deep") else ["=="]
        condition = st.one_of(
            st.fixed_dictionaries({"operator": st.sampled_from(["==", "!=", *orders]), "value": value}),
            st.fixed_dictionaries({"operator": st.sampled_from(["in", "not in"]), "value": st.lists(value)}),
        )
        return condition.map(lambda found: {"field": f"meta.{name}", **found})

    return st.sampled_from(sorted(VALUES)).flatmap(of)


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.fixed_dictionaries(
        {"operator": st.sampled_from(["AND", "OR", "NOT"]), "conditions": st.lists(inner, max_size=3)}
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(filters=FILTERS)
def test_filters_match_what_haystack_matches(store: SearchAppDocumentStore, filters: dict[str, Any]) -> None:
    expected = {document.id for document in DOCUMENTS if document_matches_filter(filters, document)}
    assert {document.id for document in store.filter_documents(filters)} == expected
    assert store.count_documents_by_filter(filters) == len(expected)
