"""Metadata filters in Haystack's grammar: parsed from text, checked, and evaluated in Python.

Every store has the same semantics. Numbers compare with numbers, text with text (so ISO dates sort as dates), booleans
with booleans; values of different kinds never match. A list field matches if one of its items does. A field without a
value (or with an empty list) is missing: it matches `!=` and `not in` any value, and `== None`. `!= None` matches a
field with a value; order comparisons with None never match. As text: `author missing`, `author exists`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from search_app.errors import InvalidQuery
from search_app.types import RESERVED_META, Filter, Meta

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
OPERATORS = (*_COMPARISONS, "!=", "in", "not in")
_LOGIC = ("AND", "OR", "NOT")
_MAX_DEPTH = 20
_MAX_CONDITIONS = 200

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<mark>>=|<=|!=|==|=|>|<|\(|\)|\[|\]|,)"""
    r"""|(?P<word>[^\s()\[\],<>=!"']+))""",
    re.VERBOSE,
)


def parse_where(text: str) -> Filter:
    """`author = "Ada" and (size > 1000 or format in [pdf, docx])` as a filter. Raises InvalidQuery for bad syntax."""
    return _Parser(text).parse()


def check(where: Filter, known: Iterable[str] | None = None) -> Filter:
    """Returns the filter or raises InvalidQuery; `known`: the collection's field names (None accepts any field)."""
    names = None if known is None else set(known)
    for count, (condition, depth) in enumerate(_walk(where, 0), start=1):
        if depth > _MAX_DEPTH or count > _MAX_CONDITIONS:
            raise _invalid(f"a filter can have {_MAX_CONDITIONS} conditions and {_MAX_DEPTH} levels")
        if "field" in condition and names is not None and field_name(condition) not in names:
            shown = ", ".join(sorted(names)) or "none"
            raise _invalid(f"no document has the field '{field_name(condition)}'", f"the fields are: {shown}")
    return where


def field_name(condition: Filter) -> str:
    """The field of a condition, without Haystack's prefix `meta.`."""
    return str(condition["field"]).removeprefix("meta.")


def field_kinds(meta: Meta) -> Iterator[tuple[str, str]]:
    """The name and displayed kind of each field, except the reserved one."""
    for name, value in meta.items():
        if name == RESERVED_META:
            continue
        kind = {bool: "true or false", int: "number", float: "number", list: "list"}.get(type(value), "text")
        yield name, kind


def matches(where: Filter, meta: Meta) -> bool:
    """The reference that every store must agree with."""
    if "field" not in where:
        results = [matches(condition, meta) for condition in conditions(where)]
        kind = where["operator"]
        return all(results) if kind == "AND" else any(results) if kind == "OR" else not all(results)
    comparison, wanted, negated = comparison_of(where)
    stored = items(meta.get(field_name(where)))
    return negated != any(_holds(comparison, stored, value) for value in wanted)


def comparison_of(where: Filter) -> tuple[str, list[Any], bool]:
    """One of == < <= > >=, the values to match (any of them), and whether the result is negated."""
    comparison, value = str(where["operator"]), where["value"]
    wanted = list(value) if isinstance(value, list | tuple) else [value]
    if comparison in ("==", "!=", "in", "not in"):
        return "==", wanted, comparison in ("!=", "not in")
    return comparison, wanted, False


def conditions(where: Filter) -> list[Filter]:
    """The conditions of an AND, OR or NOT."""
    found = where["conditions"]
    assert isinstance(found, list | tuple)
    return list(found)


def items(stored: object) -> list[Any]:
    """The values of a field; empty for a missing one."""
    found = stored if isinstance(stored, list | tuple) else [stored]
    return [item for item in found if item is not None]


def kind_of(value: object) -> str:
    """Values of equal kind are comparable; "" is comparable with nothing."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) and value == value else ""


def _walk(where: object, depth: int) -> Iterator[tuple[Filter, int]]:
    if not isinstance(where, Mapping):
        raise _invalid(f"expected an object, got {type(where).__name__}")
    if "field" in where:
        _check_comparison(where)
        yield where, depth
        return
    yield where, depth
    if where.get("operator") not in _LOGIC:
        raise _invalid(f"unknown operator {where.get('operator')!r}", f"use one of {', '.join(_LOGIC)}")
    if not isinstance(where.get("conditions"), list | tuple):
        raise _invalid(f"{where['operator']} needs a list of conditions")
    if depth > _MAX_DEPTH:
        raise _invalid(f"a filter can have {_MAX_DEPTH} levels")
    for condition in conditions(where):
        yield from _walk(condition, depth + 1)


def _check_comparison(where: Filter) -> None:
    comparison, value, name = where.get("operator"), where.get("value"), where["field"]
    if not isinstance(name, str) or not name.removeprefix("meta."):
        raise _invalid("the field of a condition must be a name")
    if comparison not in OPERATORS:
        raise _invalid(f"unknown operator {comparison!r}", f"use one of {', '.join(OPERATORS)}")
    if "value" not in where:
        raise _invalid(f"{name} {comparison} needs a value")
    if comparison in ("in", "not in"):
        if not isinstance(value, list | tuple) or not all(_is_value(item) for item in value):
            raise _invalid(f"'{comparison}' needs a list of values for {name}")
    elif not _is_value(value):
        raise _invalid(f"{name} {comparison} needs a text or a number")


def _is_value(value: object) -> bool:
    """NaN is not a value, since it equals nothing."""
    return value is None or bool(kind_of(value))


def _holds(comparison: str, stored: list[Any], value: object) -> bool:
    if value is None:
        return comparison == "==" and not stored
    kind = kind_of(value)
    return any(kind and kind_of(item) == kind and _COMPARISONS[comparison](item, value) for item in stored)


def _invalid(message: str, hint: str = "") -> InvalidQuery:
    return InvalidQuery(f"filter: {message}", hint=hint, field="where")


class _Parser:
    """Recursive descent: or := and ("or" and)*; and := unit ("and" unit)*; unit := "not" unit | "(" or ")" | test."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        self._spans: list[tuple[int, int]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"cannot read {text[position : position + 20]!r}")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind)))
            self._spans.append(match.span(kind))
            position = match.end()
        self._next = 0
        self._depth = 0

    def parse(self) -> Filter:
        where = self._or()
        if self._next < len(self._tokens):
            raise self._error(f"unexpected {self._tokens[self._next][1]!r}")
        return check(where)

    def _or(self) -> Filter:
        return self._joined("or", self._and)

    def _and(self) -> Filter:
        return self._joined("and", self._unit)

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        conditions = [part()]
        while self._take_word(word):
            conditions.append(part())
        return conditions[0] if len(conditions) == 1 else {"operator": word.upper(), "conditions": conditions}

    def _unit(self) -> Filter:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"more than {_MAX_DEPTH} levels")
        try:
            if self._take_word("not"):
                return {"operator": "NOT", "conditions": [self._unit()]}
            if self._take_mark("("):
                inner = self._or()
                self._need_mark(")")
                return inner
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Filter:
        kind, name = self._take("a field name")
        if kind != "word":
            raise self._error(f"expected a field name, found {name!r}")
        value: object = None
        field = f"meta.{name.removeprefix('meta.')}"
        for word, existence in (("exists", "!="), ("missing", "==")):
            if self._take_word(word):
                return {"field": field, "operator": existence, "value": None}
        comparison = self._comparison()
        if comparison in ("in", "not in"):
            self._need_mark("[")
            items = [self._value()]
            while self._take_mark(","):
                items.append(self._value())
            self._need_mark("]")
            value = items
        else:
            value = self._value()
        return {"field": field, "operator": comparison, "value": value}

    def _comparison(self) -> str:
        if self._take_word("in"):
            return "in"
        if self._take_word("not"):
            if not self._take_word("in"):
                raise self._error("expected 'in' after 'not'")
            return "not in"
        kind, text = self._take("a comparison")
        if kind != "mark" or text not in (*OPERATORS, "="):
            raise self._error(f"expected one of = != < <= > >= in exists missing, found {text!r}")
        return "==" if text == "=" else text

    def _value(self) -> str | int | float | bool:
        kind, text = self._take("a value")
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "mark":
            raise self._error(f"expected a value, found {text!r}")
        self._require_quotes()
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
        return text

    def _require_quotes(self) -> None:
        """Raises InvalidQuery with the corrected filter if more words follow the value that was just taken."""
        last = self._next
        while (
            last < len(self._tokens)
            and self._tokens[last][0] == "word"
            and self._tokens[last][1].lower() not in ("and", "or")
        ):
            last += 1
        if last == self._next:
            return
        text, start, end = self._text, self._spans[self._next - 1][0], self._spans[last - 1][1]
        raise _invalid(
            f"{text!r} has a value with spaces, which needs quotes",
            f'write: {text[:start]}"{text[start:end]}"{text[end:]}',
        )

    def _take(self, wanted: str) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise self._error(f"expected {wanted} at the end")
        self._next += 1
        return self._tokens[self._next - 1]

    def _take_word(self, word: str) -> bool:
        following = self._tokens[self._next] if self._next < len(self._tokens) else ("", "")
        if following[0] == "word" and following[1].lower() == word:
            self._next += 1
            return True
        return False

    def _take_mark(self, mark: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == ("mark", mark):
            self._next += 1
            return True
        return False

    def _need_mark(self, mark: str) -> None:
        if not self._take_mark(mark):
            raise self._error(f"expected '{mark}'")

    def _error(self, message: str) -> InvalidQuery:
        return InvalidQuery(
            f"filter {self._text!r}: {message}",
            hint="example: modified>=2026-01-01 and format in [pdf, html] and author exists",
            field="where",
        )
