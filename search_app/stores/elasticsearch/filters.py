"""Translate filters to Elasticsearch queries with the semantics of `search_app.stores.filters`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

from search_app.stores.elasticsearch.schema import field_path, term
from search_app.stores.filters import comparison_of, field_name
from search_app.types import Filter

Query = dict[str, Any]
ALL: Query = {"match_all": {}}
NONE: Query = {"match_none": {}}
_RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_ORDERS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_INT64 = 1 << 63


def to_query(where: Filter, *, negated: bool = False) -> Query:
    """`where` must have passed `filters.check`. Negations are pushed down: Elasticsearch limits nesting to 30."""
    if "field" in where:
        return _comparison(where, negated)
    kind = where["operator"]
    conditions = where["conditions"]
    assert isinstance(conditions, list | tuple)
    inside = negated != (kind == "NOT")
    queries = [to_query(condition, negated=inside) for condition in conditions]
    # NOT means "not all of them"; inside a negation, "all" and "any" are swapped.
    return _all(queries) if (kind in ("AND", "NOT")) != inside else _any(queries)


def _comparison(where: Filter, negated: bool) -> Query:
    comparison, values, none_of = comparison_of(where)
    negated = negated != none_of
    found = [query for item in values for query in _item(field_name(where), comparison, item)]
    if not negated:
        return _any(found)
    return {"bool": {"must_not": found}} if found else ALL


def _item(name: str, comparison: str, value: str | int | float | bool | None) -> Iterator[Query]:
    if value is None:
        if comparison == "==":
            yield {"bool": {"must_not": [{"exists": {"field": field_path(name, kind)}} for kind in "tidb"]}}
    elif isinstance(value, bool):
        path = field_path(name, "b")
        if comparison == "==":
            yield {"term": {path: value}}
        else:
            yield {"terms": {path: [item for item in (False, True) if _ORDERS[comparison](item, value)]}}
    elif isinstance(value, str):
        yield _compare(field_path(name, "t"), comparison, term(value))
    else:
        yield from _whole_numbers(field_path(name, "i"), comparison, value)
        yield from _fractions(field_path(name, "d"), comparison, value)


def _whole_numbers(path: str, comparison: str, value: int | float) -> Iterator[Query]:
    """Python compares int and float exactly, Elasticsearch as doubles, so the bound is rounded to an integer."""
    if value != value:
        return
    if comparison == "==":
        if value in (math.inf, -math.inf) or value != int(value) or not -_INT64 <= value < _INT64:
            return
        yield {"term": {path: int(value)}}
        return
    if value >= _INT64 or value < -_INT64:
        if (value > 0) == (comparison in ("<", "<=")):
            yield {"exists": {"field": path}}
        return
    if value != int(value):
        comparison, value = (">=", math.ceil(value)) if comparison in (">", ">=") else ("<=", math.floor(value))
    yield _compare(path, comparison, int(value))


def _fractions(path: str, comparison: str, value: int | float) -> Iterator[Query]:
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf if value > 0 else -math.inf
    if nearest != nearest:
        return
    if nearest != value:  # an integer that no double equals
        if comparison == "==":
            return
        above = nearest > value
        comparison = (">=" if above else ">") if comparison in (">", ">=") else ("<" if above else "<=")
    if nearest in (math.inf, -math.inf):
        if (nearest > 0) == (comparison in ("<", "<=")):
            yield {"exists": {"field": path}}
        return
    yield _compare(path, comparison, nearest)


def _compare(path: str, comparison: str, value: object) -> Query:
    return {"term": {path: value}} if comparison == "==" else {"range": {path: {_RANGES[comparison]: value}}}


def _all(queries: list[Query]) -> Query:
    return {"bool": {"filter": queries}} if queries else ALL


def _any(queries: list[Query]) -> Query:
    return {"bool": {"should": queries, "minimum_should_match": 1}} if queries else NONE
