"""Names of the elements of Office files, and how to go through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Element = Any
"""An lxml element; lxml has no types."""

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
W14 = "{http://schemas.microsoft.com/office/word/2010/wordml}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
CX = "{http://schemas.microsoft.com/office/drawing/2014/chartex}"
DGM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
V = "{urn:schemas-microsoft-com:vml}"
O = "{urn:schemas-microsoft-com:office:office}"  # noqa: E741
WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
WPS = "{http://schemas.microsoft.com/office/word/2010/wordprocessingShape}"
PIC = "{http://schemas.openxmlformats.org/drawingml/2006/picture}"

_PROPERTIES = (
    "rPr pPr sectPr tblPr tblGrid tblPrEx trPr tcPr sdtPr sdtEndPr smartTagPr customXmlPr rubyPr fldData ffData"
)
_REMOVED = "del moveFrom delText instrText delInstrText fldData"
_NO_CONTENT = frozenset(
    {f"{W}{name}" for name in f"{_PROPERTIES} {_REMOVED}".split()}
    | {f"{A}{name}" for name in ("rPr", "pPr", "endParaRPr", "bodyPr", "lstStyle")}
)


def is_content(element: Element) -> bool:
    """Whether the element is part of what is shown: neither a property nor deleted text nor a second copy."""
    if element.tag in (f"{MC}Choice", f"{MC}Fallback"):
        return next(element.itersiblings(f"{MC}Choice", preceding=True), None) is None
    return element.tag not in _NO_CONTENT


def inside(element: Element, *tags: str) -> Iterator[Element]:
    """The nearest elements with one of the tags, through whatever wraps them: controls, insertions, smart tags."""
    for child in element:
        if child.tag in tags:
            yield child
        elif is_content(child):
            yield from inside(child, *tags)


def is_on(properties: Element | None, name: str) -> bool | None:
    """The value of a property that is on or off; None if it is not stated."""
    found = None if properties is None else properties.find(f"{W}{name}")
    return None if found is None else found.get(f"{W}val", "true") not in ("false", "0", "off")


def value(element: Element | None, path: str, default: str = "") -> str:
    """The attribute `val` of the element at `path`, names of WordprocessingML with slashes in between."""
    found = None if element is None else element.find("/".join(f"{W}{name}" for name in path.split("/")))
    return default if found is None else str(found.get(f"{W}val", default))
