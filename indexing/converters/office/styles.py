"""Styles of a Word file: what they are based on decides on headings, numbers and hidden text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from indexing.converters.office.xml import Element, W, is_on, value

_HEADING = re.compile(r"heading ?([1-9])\b", re.IGNORECASE)
_TITLE = re.compile(r"(?<!sub)title$|^titel$|^titre$|^t[ií]tulo$|^titolo$", re.IGNORECASE)
_OTHER_TITLE = re.compile(r"table|figure|sub|toc|caption|section|chart", re.IGNORECASE)
_MAX_DEPTH = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Style:
    """`level` of a heading or list is 0 for the first one; None and "" are not stated."""

    name: str
    based_on: str
    outline: int | None
    number: str
    number_level: str
    hidden: bool | None
    first_row: bool


NONE = Style("", "", None, "", "", None, False)


class Styles:
    """The styles by their ids; a part without styles has none."""

    def __init__(self, root: Element | None) -> None:
        self._styles: dict[str, Style] = {}
        self._default = ""
        for item in root.iterchildren(f"{W}style") if root is not None else ():
            key = item.get(f"{W}styleId", "")
            self._styles[key] = _style(item)
            if item.get(f"{W}type") == "paragraph" and item.get(f"{W}default") in ("1", "true"):
                self._default = key

    def of(self, properties: Element | None) -> str:
        """The id of a paragraph's style, given its properties."""
        return value(properties, "pStyle") or self._default

    def heading(self, key: str) -> int | None:
        """The level of a heading, from 1; None if it is not one. Body text has the outline level 9."""
        level = self._first(key, lambda style: style.outline)
        return level + 1 if level is not None and level < 9 else None

    def is_title(self, key: str) -> bool:
        """Whether paragraphs of this style are the title of the document."""
        names = [style.name for style in self._chain(key)]
        return any(_TITLE.search(name) and not _OTHER_TITLE.search(name) for name in names)

    def number(self, key: str) -> tuple[str, str]:
        """The list that paragraphs of this style belong to and its level, both "" if not stated."""
        number = self._first(key, lambda style: style.number or None) or ""
        return number, self._first(key, lambda style: style.number_level or None) or ""

    def hides(self, key: str) -> bool:
        """Whether text of this style is hidden."""
        return bool(self._first(key, lambda style: style.hidden))

    def has_header(self, key: str) -> bool:
        """Whether tables of this style show the first row as a header."""
        return any(style.first_row for style in self._chain(key))

    def _first(self, key: str, get: Callable[[Style], T | None]) -> T | None:
        return next((found for style in self._chain(key) if (found := get(style)) is not None), None)

    def _chain(self, key: str) -> Iterator[Style]:
        for _ in range(_MAX_DEPTH):  # a damaged file may be based on itself
            style = self._styles.get(key)
            if style is None:
                return
            yield style
            key = style.based_on


def _style(item: Element) -> Style:
    name = value(item, "name")
    outline = value(item, "pPr/outlineLvl")
    heading = _HEADING.match(name) or _HEADING.match(item.get(f"{W}styleId", ""))
    return Style(
        name=name,
        based_on=value(item, "basedOn"),
        outline=int(outline) if outline.isdigit() else int(heading[1]) - 1 if heading else None,
        number=value(item, "pPr/numPr/numId"),
        number_level=value(item, "pPr/numPr/ilvl"),
        hidden=is_on(item.find(f"{W}rPr"), "vanish"),
        first_row=any(part.get(f"{W}type") == "firstRow" for part in item.iterchildren(f"{W}tblStylePr")),
    )
