"""Translates Haystack's filters to ours. In Haystack's, None is a value, and an unknown field is an empty one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from haystack.errors import FilterError

from search_app.types import Filter

_ORDERS = (">", ">=", "<", "<=")
_COMPARISONS = ("==", "!=", *_ORDERS, "in", "not in")
_BY_ID = ("==", "in")
_LOGIC = ("AND", "OR", "NOT")
_MAX_DEPTH = 20
_ALWAYS: Filter = {"operator": "AND", "conditions": []}
_NEVER: Filter = {"operator": "OR", "conditions": []}


def to_filter(filters: Mapping[str, Any] | None, known: Collection[str]) -> Filter | None:
    """Our filter, or None for no filter. `known` are the collection's fields. Raises FilterError."""
    return _translated(filters, known, 0) if filters else None


def split_ids(filters: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, list[str] | None]:
    """The filter without its conditions on `id`, and the ids that those allow (None: any).

    Only for conditions that must hold, so at the top or in its AND.
    """
    if not isinstance(filters, Mapping):
        return filters, None
    if _is_about_id(filters):
        return None, _ids(filters)
    conditions = filters.get("conditions")
    if filters.get("operator") != "AND" or not isinstance(conditions, list):
        return filters, None
    stated = [_ids(item) for item in conditions if _is_about_id(item)]
    if not stated:
        return filters, None
    allowed = [id for id in stated[0] if all(id in other for other in stated)]
    return {"operator": "AND", "conditions": [item for item in conditions if not _is_about_id(item)]}, allowed


def _is_about_id(condition: object) -> bool:
    return isinstance(condition, Mapping) and condition.get("field") == "id" and condition.get("operator") in _BY_ID


def _ids(condition: Mapping[str, Any]) -> list[str]:
    value = _required(condition, "value")
    given = value if condition["operator"] == "in" else [value]
    if not isinstance(given, list):
        raise FilterError("'in' needs a list of ids")
    return [id for id in given if isinstance(id, str)]


def _translated(where: object, known: Collection[str], depth: int) -> Filter:
    if not isinstance(where, Mapping):
        raise FilterError(f"a filter is a dictionary, not {type(where).__name__}")
    if depth > _MAX_DEPTH:
        raise FilterError(f"a filter is nested at most {_MAX_DEPTH} deep")
    if "field" in where:
        return _comparison(where, known)
    operator = _required(where, "operator")
    conditions = _required(where, "conditions")
    if operator not in _LOGIC:
        raise FilterError(f"unknown operator '{operator}': use one of {', '.join(_LOGIC)}")
    if not isinstance(conditions, list):
        raise FilterError(f"{operator} needs a list of conditions")
    return {"operator": operator, "conditions": [_translated(item, known, depth + 1) for item in conditions]}


def _comparison(where: Mapping[str, Any], known: Collection[str]) -> Filter:
    field, operator, value = where["field"], _required(where, "operator"), _required(where, "value")
    if not isinstance(field, str) or not field.removeprefix("meta."):
        raise FilterError("the field of a condition must be a name")
    if field in ("id", "content", "blob", "score", "embedding", "sparse_embedding"):
        raise FilterError(
            f"'{field}' is not metadata; filter by fields of meta (or, to list documents, by 'id' with == or in,"
            " alone or in an AND)"
        )
    if operator not in _COMPARISONS:
        raise FilterError(f"unknown operator '{operator}': use one of {', '.join(_COMPARISONS)}")
    name = field.removeprefix("meta.")
    if operator in ("in", "not in"):
        return _listed(name, operator, value, known)
    if operator in _ORDERS:
        _require_order(name, operator, value)
    return _condition(name, operator, value, known)


def _listed(name: str, operator: str, value: object, known: Collection[str]) -> Filter:
    if not isinstance(value, list):
        raise FilterError(f"'{operator}' needs a list of values for {name}, not {type(value).__name__}")
    one, logic = ("==", "OR") if operator == "in" else ("!=", "AND")
    given = [item for item in value if item is not None]
    parts = [_condition(name, operator, given, known)]
    if len(given) < len(value):
        parts.append(_condition(name, one, None, known))
    return parts[0] if len(parts) == 1 else {"operator": logic, "conditions": parts}


def _condition(name: str, operator: str, value: Any, known: Collection[str]) -> Filter:
    if operator in _ORDERS and value is None:
        return _NEVER
    if name not in known:
        missing_matches = operator == "not in" or (operator == "!=" and value is not None)
        return _ALWAYS if missing_matches or (operator == "==" and value is None) else _NEVER
    value = [_plain(item) for item in value] if isinstance(value, list) else _plain(value)
    return {"field": f"meta.{name}", "operator": operator, "value": value}


def _require_order(name: str, operator: str, value: object) -> None:
    """Text can be ordered only if it is an ISO 8601 date, which sorts as text."""
    if isinstance(value, list | dict):
        raise FilterError(f"{name} {operator} needs a number or a date, not {type(value).__name__}")
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise FilterError(f"{name} {operator} {value!r}: only dates in ISO 8601 have an order as text") from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _required(where: Mapping[str, Any], key: str) -> Any:
    if key not in where:
        raise FilterError(f"'{key}' is missing in {dict(where)}")
    return where[key]
