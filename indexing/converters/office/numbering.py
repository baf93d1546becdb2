"""The numbers that Word computes for lists and headings: "2.1", "b)", "iv."."""

from __future__ import annotations

import re
from dataclasses import dataclass

from indexing.converters.office.styles import Styles
from indexing.converters.office.xml import Element, W, is_on, value

_LEVELS = 9
_PLACE = re.compile(r"%([1-9])")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"),
          (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MAX_ROMAN = 4000
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}
BULLET = "-"


@dataclass(frozen=True, slots=True)
class _Level:
    start: int
    shape: str
    text: str
    style: str
    restarts: int
    """The number of levels above, of which one that counts on makes this one start again."""
    decimal: bool


class Numbering:
    """The lists of a file. `next` counts, so ask once for each paragraph, in order."""

    def __init__(self, root: Element | None, styles: Styles) -> None:
        self._styles = styles
        self._nums = _by_id(root, "num", "numId")
        self._abstracts = _by_id(root, "abstractNum", "abstractNumId")
        self._levels: dict[str, tuple[str, list[_Level | None]]] = {}
        self._counts: dict[str, list[int | None]] = {}
        self._started: set[tuple[str, int]] = set()

    def next(self, properties: Element | None, style: str) -> str:
        """The number of the next paragraph with these properties and style; "" if it has none, "-" for a bullet."""
        by_style, style_level = self._styles.number(style)
        number = value(properties, "numPr/numId") or by_style
        if number not in self._nums:
            return ""
        key, levels = self._resolved(number)
        stated = value(properties, "numPr/ilvl") or style_level
        level = min(int(stated), _LEVELS - 1) if stated.isdigit() else _level_of(style, levels)
        return self._text(key, levels, self._count(number, key, levels, level), level)

    def _count(self, number: str, key: str, levels: list[_Level | None], level: int) -> list[int | None]:
        """Counts of one definition are shared by its lists, until one states that it starts again."""
        counts = self._counts.setdefault(key, [None] * _LEVELS)
        restart = self._restart(number, level)
        own, before = levels[level], counts[level]
        counts[level] = restart if restart is not None else (own.start if own else 1) if before is None else before + 1
        for lower in range(level + 1, _LEVELS):
            definition = levels[lower]
            if definition is None or level < min(lower, definition.restarts):
                counts[lower] = None
        return counts

    def _restart(self, number: str, level: int) -> int | None:
        if (number, level) in self._started:
            return None
        self._started.add((number, level))
        for change in self._nums[number].iterchildren(f"{W}lvlOverride"):
            start = value(change, "startOverride")
            if change.get(f"{W}ilvl") == str(level) and start.isdigit():
                return int(start)
        return None

    def _text(self, key: str, levels: list[_Level | None], counts: list[int | None], level: int) -> str:
        own = levels[level]
        if own is None or (own.shape == "none" and not own.text):
            return ""
        if own.shape == "bullet":
            return BULLET if own.text.strip() else ""

        def shown(place: re.Match[str]) -> str:
            index = int(place[1]) - 1
            above = levels[index]
            count = counts[index]
            start = above.start if above else 1
            shape = "decimal" if own.decimal or above is None else above.shape
            return formatted(start - 1 if count is None else count, shape)

        return _PLACE.sub(shown, own.text).strip()

    def _resolved(self, number: str) -> tuple[str, list[_Level | None]]:
        if number not in self._levels:
            num = self._nums[number]
            key = value(num, "abstractNumId")
            linked, _ = self._styles.number(value(self._abstracts.get(key), "numStyleLink"))
            key = value(self._nums.get(linked), "abstractNumId") or key
            levels: list[_Level | None] = [None] * _LEVELS
            for item in _definitions(self._abstracts.get(key), num):
                index = item.get(f"{W}ilvl", "0")
                if index.isdigit() and int(index) < _LEVELS:
                    levels[int(index)] = _level(item)
            self._levels[number] = key, levels
        return self._levels[number]


def _by_id(root: Element | None, tag: str, name: str) -> dict[str, Element]:
    items = () if root is None else root.iterchildren(f"{W}{tag}")
    return {item.get(f"{W}{name}", ""): item for item in items}


def _definitions(abstract: Element | None, num: Element) -> list[Element]:
    own = [] if abstract is None else list(abstract.iterchildren(f"{W}lvl"))
    return own + [item for change in num.iterchildren(f"{W}lvlOverride") for item in change.iterchildren(f"{W}lvl")]


def _level(item: Element) -> _Level:
    start, restarts = value(item, "start"), value(item, "lvlRestart")
    return _Level(
        start=int(start) if start.isdigit() else 1,
        shape=value(item, "numFmt", "decimal"),
        text=value(item, "lvlText"),
        style=value(item, "pStyle"),
        restarts=int(restarts) if restarts.isdigit() else _LEVELS,
        decimal=bool(is_on(item, "isLgl")),
    )


def _level_of(style: str, levels: list[_Level | None]) -> int:
    return next((index for index, level in enumerate(levels) if level and style and level.style == style), 0)


def formatted(number: int, shape: str) -> str:
    """A number in one of the formats of Word; those that are not known here are decimal."""
    if shape == "none":
        return ""
    if shape in ("lowerLetter", "upperLetter") and number > 0:
        letters = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 40)
        return letters.upper() if shape == "upperLetter" else letters
    if shape in ("lowerRoman", "upperRoman") and 0 < number < _MAX_ROMAN:
        return _roman(number).upper() if shape == "upperRoman" else _roman(number)
    if shape == "ordinal":
        return f"{number}{'th' if number % 100 in (11, 12, 13) else _ORDINALS.get(number % 10, 'th')}"
    return f"{number:02d}" if shape == "decimalZero" else str(number)


def _roman(number: int) -> str:
    text = ""
    for size, letters in _ROMAN:
        count, number = divmod(number, size)
        text += letters * count
    return text
