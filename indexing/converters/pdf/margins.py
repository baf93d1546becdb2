"""Running headers and footers: lines that come again at the same place of the pages, with the page's number in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from indexing.converters.pdf.grids import Grid
from indexing.converters.pdf.lines import Line

Block = Line | Grid

_ZONE = 0.12
"""Of the page's height, at the top and at the bottom."""
_SLOT = 5.0
"""Points: lines of one slot are at the same place."""
_MAX_LINES = 4
_MAX_LISTED = 20
_NUMBER = re.compile(r"\d+")
_ROMAN = re.compile(r"(?=[ivxl])(x{0,3}|xl)(ix|iv|v?i{0,3})", re.IGNORECASE)
_PLAIN_NUMBER = re.compile(
    r"[\W\d_]*((page|seite|p|s|of|von|pagina|página|sida|side|sur|de|di)\b[\W\d_]*)*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The lines and tables of page `number` (from 1), and its height in points."""

    number: int
    height: float
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Margins:
    """Running headers and footers: ids of their lines and tables, and their texts, but for bare page numbers."""

    lines: frozenset[int]
    header: tuple[str, ...]
    footer: tuple[str, ...]

    def body(self, sheet: Sheet, *, first: bool, last: bool) -> list[Block]:
        """The lines and tables of a page without them. The first page keeps its header, the last one its footer.

        There they interrupt nothing, and are found. Page numbers go everywhere.
        """
        before, body, after = list[Block](), list[Block](), list[Block]()
        for line in sheet.blocks:
            if id(line) not in self.lines:
                body.append(line)
            elif (words := _without_numbers(line)) is not None:
                if first and _in_header(sheet, line):
                    before.append(words)
                elif last and not _in_header(sheet, line):
                    after.append(words)
        return [*before, *body, *after]


def find(sheets: Sequence[Sheet]) -> Margins:
    """Lines that come again on at least three pages, or on two of at most three."""
    needed = 2 if len(sheets) <= 3 else 3
    pages = defaultdict[tuple[object, ...], set[int]](set)
    outer = [(sheet, line, list(_variants(sheet, line))) for sheet in sheets for line in _outer(sheet)]
    for sheet, _, variants in outer:
        for variant in variants:
            pages[variant].add(sheet.number)
    running = [
        (sheet, line) for sheet, line, variants in outer if any(len(pages[variant]) >= needed for variant in variants)
    ]
    return Margins(
        frozenset(id(line) for _, line in running),
        _texts(line for sheet, line in running if _in_header(sheet, line)),
        _texts(line for sheet, line in running if not _in_header(sheet, line)),
    )


def _outer(sheet: Sheet) -> list[Block]:
    top = [line for line in sheet.blocks if line.bottom <= _ZONE * sheet.height]
    bottom = [line for line in sheet.blocks if line.top >= (1 - _ZONE) * sheet.height]
    top.sort(key=lambda line: line.top)
    bottom.sort(key=lambda line: -line.bottom)
    return top[:_MAX_LINES] + bottom[:_MAX_LINES]


def _in_header(sheet: Sheet, line: Block) -> bool:
    return line.bottom <= sheet.height / 2


def _variants(sheet: Sheet, line: Block) -> Iterator[tuple[object, ...]]:
    """What is the same on each page: the text, or the text and the distance of one of its numbers to the page's."""
    text = " ".join(line.strand.text.split())
    slot = round((line.top if _in_header(sheet, line) else sheet.height - line.bottom) / _SLOT)
    yield slot, _in_header(sheet, line), text
    masked = _NUMBER.sub("#", text)
    for index, number in enumerate(_NUMBER.findall(text)):
        yield slot, _in_header(sheet, line), masked, index, int(number[:9]) - sheet.number
    if _ROMAN.fullmatch(text):
        yield slot, _in_header(sheet, line), "roman", _roman(text.lower()) - sheet.number


def _roman(text: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10, "l": 50}[letter] for letter in text]
    return sum(-value if value < max(values[index:]) else value for index, value in enumerate(values))


def _texts(lines: Iterable[Block]) -> tuple[str, ...]:
    """Each text once, whatever its numbers."""
    found: dict[str, str] = {}
    for line in lines:
        if (words := _without_numbers(line)) is not None:
            text = " ".join(words.strand.text.split())
            found.setdefault(_NUMBER.sub("#", text), text)
    return tuple(list(found.values())[:_MAX_LISTED])


def _without_numbers(line: Block) -> Block | None:
    """The line without pieces that only number the page, None if nothing is left."""
    kept = tuple(
        piece for piece in line.pieces if not (_PLAIN_NUMBER.fullmatch(piece.text) or _ROMAN.fullmatch(piece.text))
    )
    if isinstance(line, Grid) and kept:
        return line
    return Line(kept) if kept else None
