"""The text of inline elements of HTML, and of a cell of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from indexing.converters.inline import missing_address, one_line, raised

BREAK = "\x1e"
"""Stands for `<br>` until white space is folded."""
CELL_BLOCKS = frozenset(
    (
        "p", "div", "section", "article", "ul", "ol", "dl", "dt", "dd", "li", "blockquote", "figure", "figcaption",
        "caption", "address", "details", "summary", "pre", "center", "table", "tr", "td", "th",
        "h1", "h2", "h3", "h4", "h5", "h6",
    )
)  # fmt: skip
_NOT_CONTENT = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp)$|\b(?:logo|icon|avatar)\b", re.IGNORECASE)
"""Descriptions of pictures that tell nothing."""


def before(element: Any) -> str:
    """The text at the start of an element: its own, with raised digits as such, or what a picture shows."""
    text = element.text or ""
    tag = element.tag
    if tag == "br":
        return BREAK
    if tag in ("img", "area"):
        alt = (element.get("alt") or "").strip()
        return "" if _NOT_CONTENT.search(alt) else f" {alt} "
    if tag == "sup" and not len(element):
        return raised(text)
    return f'"{text}' if tag == "q" else text


def after(element: Any) -> str:
    """The text at the end of an element: the address of a link that its text lacks."""
    if element.tag == "a" and (address := hidden_address(element)):
        return f" ({address})"
    return '"' if element.tag == "q" else ""


def hidden_address(link: Any) -> str:
    """The e-mail address or phone number of a link, "" if its text shows it or it leads elsewhere."""
    return missing_address(link.get("href") or "", "".join(link.itertext()))


def formula(element: Any) -> str:
    """A formula as its author wrote it, if the page has that, else its characters."""
    notes = (item.text for item in element.iter("annotation") if "tex" in (item.get("encoding") or ""))
    return element.get("alttext") or next(filter(None, notes), "") or "".join(element.itertext())


def cell_text(cell: Any) -> str:
    """The text of a cell on one line. Its lines and paragraphs are parts with ", " in between, in headers a space."""
    return one_line(re.split(BREAK, "".join(_pieces(cell))), commas=cell.tag == "td")


def _pieces(cell: Any) -> Iterator[str]:
    walk = etree.iterwalk(cell, events=("start", "end"))
    for event, element in walk:
        block = element is not cell and element.tag in CELL_BLOCKS
        if event == "start":
            yield BREAK if block else ""
            if element.tag == "math":
                walk.skip_subtree()
                yield formula(element)
            else:
                yield before(element)
        else:
            yield after(element)
            yield BREAK if block else ""
            if element is not cell:
                yield element.tail or ""
