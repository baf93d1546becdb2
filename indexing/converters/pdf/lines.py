"""Lines of a page in reading order, its columns one after the other."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from statistics import median

from indexing.converters.pdf.glyphs import Piece
from indexing.converters.pdf.strands import Strand, concatenated

_MIN_ROWS = 4
"""Of two columns."""
_PROSE_WORDS, _PROSE_FILL = 3.0, 0.6
"""Words of a line and its share of the column's width: a table has shorter ones."""
_SPACE = Strand(" ")


@dataclass(frozen=True)
class Line:
    """Pieces from left to right."""

    pieces: tuple[Piece, ...]

    @cached_property
    def strand(self) -> Strand:
        first, *others = [piece.strand for piece in self.pieces]
        return concatenated([first, *(part for other in others for part in (_SPACE, other))]) if others else first

    @cached_property
    def left(self) -> float:
        return min(piece.left for piece in self.pieces)

    @cached_property
    def top(self) -> float:
        return min(piece.top for piece in self.pieces)

    @cached_property
    def right(self) -> float:
        return max(piece.right for piece in self.pieces)

    @cached_property
    def bottom(self) -> float:
        return max(piece.bottom for piece in self.pieces)

    @cached_property
    def height(self) -> float:
        return max(piece.height for piece in self.pieces)


def lines(pieces: Sequence[Piece]) -> list[Line]:
    """In PDFium's order, which is the order in which they were drawn; but columns drawn row by row are put in order."""
    return [Line(tuple(group)) for _, group in groupby(in_columns(pieces), key=lambda piece: piece.line)]


def rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces side by side, from top to bottom and from left to right."""
    found: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.top + piece.bottom) / 2):
        if found and _beside(found[-1][0], piece):
            found[-1].append(piece)
        else:
            found.append([piece])
    return [sorted(row, key=lambda piece: piece.left) for row in found]


def _beside(one: Piece, other: Piece) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    return overlap > 0.5 * min(one.height, other.height)


def in_columns(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces with each column of prose after the one on its left."""
    if not any(one.line == other.line for one, other in pairwise(pieces)):
        return list(pieces)
    band = _band(rows(pieces))
    if not band:
        return list(pieces)
    inside = {id(piece) for row in band for piece in row}
    first = next(index for index, piece in enumerate(pieces) if id(piece) in inside)
    after = [piece for piece in pieces[first:] if id(piece) not in inside]
    found = columns([piece for piece in pieces if id(piece) in inside])
    return [*pieces[:first], *(piece for column in found for piece in column), *in_columns(after)]


def _band(found: Sequence[Sequence[Piece]]) -> list[Sequence[Piece]]:
    """The first rows in a sequence that are columns of prose, drawn row by row."""
    start = 0
    while start < len(found):
        end = start + 1
        while end < len(found) and len(columns([piece for row in found[start : end + 1] for piece in row])) > 1:
            end += 1
        band = found[start:end]
        if len(band) >= _MIN_ROWS and _interleaved(band) and _prose(band):
            return list(band)
        start = end
    return []


def columns(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces, each column in the order given: columns are parted by gaps that go through all rows."""
    borders: list[float] = []
    reach = float("inf")
    for piece in sorted(pieces, key=lambda piece: piece.left):
        if piece.left > reach:
            borders.append(reach)
        reach = piece.right if reach == float("inf") else max(reach, piece.right)
    found: list[list[Piece]] = [[] for _ in range(len(borders) + 1)]
    for piece in pieces:
        found[bisect.bisect_left(borders, piece.left)].append(piece)
    return found


def _interleaved(band: Sequence[Sequence[Piece]]) -> bool:
    both = [row for row in band if len(row) > 1]
    drawn = sum(any(one.line == other.line for one, other in pairwise(row)) for row in both)
    return 2 * len(both) >= len(band) and 2 * drawn > len(both)


def _prose(band: Sequence[Sequence[Piece]]) -> bool:
    found = columns([piece for row in band for piece in row])
    return len(found) > 1 and all(is_prose(column) for column in found)


def is_prose(column: Sequence[Piece]) -> bool:
    """Whether most of its lines are as wide as a column of prose."""
    if len(column) < _MIN_ROWS:
        return False
    width = max(piece.right for piece in column) - min(piece.left for piece in column)
    fill = median((piece.right - piece.left) / (width or 1.0) for piece in column)
    words = sum(len(piece.text.split()) for piece in column) / len(column)
    return fill >= _PROSE_FILL and words >= _PROSE_WORDS
