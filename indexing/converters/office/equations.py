"""Equations of Word and PowerPoint as one line: `x^2`, `(a+b)/2`, `√(n)`."""

from __future__ import annotations

import re

from indexing.converters.office.xml import Element, M, is_content

_SIMPLE = re.compile(r"[\w.,∞]*")
_TEXT = frozenset(f"{space}t" for space in (M, "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"))


def linear(element: Element) -> str:
    """The equation, or a part of it, in one line."""
    shape = _SHAPES.get(element.tag)
    if shape is not None:
        return shape(element)
    if element.tag in _TEXT:
        return element.text or ""
    return "".join(linear(child) for child in element if isinstance(child.tag, str) and is_content(child))


def _part(element: Element, name: str) -> str:
    found = element.find(f"{M}{name}")
    return "" if found is None else linear(found).strip()


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _fraction(element: Element) -> str:
    return f"{_grouped(_part(element, 'num'))}/{_grouped(_part(element, 'den'))}"


def _script(element: Element) -> str:
    """Of m:sSup, m:sSub, m:sSubSup, and of limits."""
    low = _part(element, "sub") or _part(element, "lim")
    high = _part(element, "sup")
    return _part(element, "e") + (f"_{_grouped(low)}" if low else "") + (f"^{_grouped(high)}" if high else "")


def _root(element: Element) -> str:
    degree = _part(element, "deg")
    return f"{degree}√({_part(element, 'e')})"


def _sum(element: Element) -> str:
    sign = _property(element, "naryPr", "chr", "∫")
    low, high = _part(element, "sub"), _part(element, "sup")
    limits = (f"_{_grouped(low)}" if low else "") + (f"^{_grouped(high)}" if high else "")
    return f"{sign}{limits} {_part(element, 'e')}"


def _fenced(element: Element) -> str:
    begin, end = (_property(element, "dPr", name, usual) for name, usual in (("begChr", "("), ("endChr", ")")))
    between = _property(element, "dPr", "sepChr", "|")
    return begin + between.join(linear(part) for part in element.iterchildren(f"{M}e")) + end


def _rows(element: Element) -> str:
    """Of a matrix or several equations in lines."""
    rows = list(element.iterchildren(f"{M}mr")) or [element]
    return "; ".join(", ".join(linear(part) for part in row.iterchildren(f"{M}e")) for row in rows)


def _function(element: Element) -> str:
    return f"{_part(element, 'fName')} {_part(element, 'e')}"


def _property(element: Element, group: str, name: str, usual: str) -> str:
    found = element.find(f"{M}{group}/{M}{name}")
    return usual if found is None else str(found.get(f"{M}val", ""))


_SHAPES = {
    f"{M}{name}": shape
    for names, shape in (
        ("f", _fraction), ("sSup sSub sSubSup sPre limLow limUpp", _script), ("rad", _root), ("nary", _sum),
        ("d", _fenced), ("m eqArr", _rows), ("func", _function),
    )
    for name in names.split()
}  # fmt: skip
