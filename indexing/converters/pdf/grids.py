"""Tables of a page, by the rules between their cells or by the gaps that go through all their rows."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from indexing.converters.pdf.glyphs import Glyphs, Piece, split
from indexing.converters.pdf.lines import rows
from indexing.converters.pdf.rules import Rule, Rules
from indexing.converters.pdf.strands import Strand, concatenated

Cell = tuple[Strand, ...] | None
"""The lines of a cell; None for one that the cell at its left covers."""
_NEAR = 3.0
"""Points."""
_SAME_PLACE = 30.0
"""Points between the borders of a column on two pages."""
_MAX_WORDS = 60
"""Of a cell in the mean: frames with more are a page's layout."""
_SPACE = Strand(" ")


@dataclass(frozen=True)
class Grid:
    """A table, and the pieces that are in it. `borders`: x of the borders between its columns.

    The first `header` rows name the columns; None: not known.
    """

    rows: tuple[tuple[Cell, ...], ...]
    borders: tuple[float, ...]
    left: float
    top: float
    right: float
    bottom: float
    pieces: tuple[Piece, ...]
    header: int | None = None

    @cached_property
    def strand(self) -> Strand:
        """Its text as one line."""
        strands = [line for row in self.rows for cell in row for line in cell or ()]
        return concatenated(part for strand in strands for part in (strand, _SPACE))

    def goes_on(self, other: Grid) -> bool:
        """Whether `other`, at the top of the next page, is a part of the same table: it has the same columns."""
        if len(self.rows[0]) != len(other.rows[0]):
            return False
        overlap = min(self.right, other.right) - max(self.left, other.left)
        return overlap > 0.8 * min(self.right - self.left, other.right - other.left) and all(
            abs(one - two) < _SAME_PLACE for one, two in zip(self.borders, other.borders, strict=True)
        )


def ruled(glyphs: Glyphs, pieces: Sequence[Piece], rules: Rules) -> Iterator[Grid]:
    """The tables with rules between rows and columns."""
    for horizontal, vertical in _connected(rules):
        columns = _borders(vertical, horizontal)
        bands = _borders(horizontal, vertical)
        if len(columns) < 3 or len(bands) < 2:
            continue
        inside = [piece for piece in pieces if _within(piece, columns, bands)]
        frame = _Frame(glyphs, columns, bands, horizontal, vertical)
        found = frame.rows(inside)
        if _is_table(found):
            yield Grid(tuple(found), tuple(columns[1:-1]), columns[0], bands[0], columns[-1], bands[-1], tuple(inside))


def _is_table(found: Sequence[Sequence[Cell]]) -> bool:
    filled = [cell for row in found for cell in row if cell]
    words = sum(len(line.text.split()) for cell in filled for line in cell)
    return sum(sum(bool(cell) for cell in row) > 1 for row in found) > 1 and words <= _MAX_WORDS * len(filled)


def _within(piece: Piece, columns: Sequence[float], bands: Sequence[float]) -> bool:
    x, y = (piece.left + piece.right) / 2, (piece.top + piece.bottom) / 2
    return columns[0] - _NEAR <= x <= columns[-1] + _NEAR and bands[0] - _NEAR <= y <= bands[-1] + _NEAR


def _connected(rules: Rules) -> Iterator[tuple[list[Rule], list[Rule]]]:
    """Groups of rules that cross or touch each other."""
    free = list(rules.vertical)
    waiting = list(rules.horizontal)
    while waiting:
        horizontal, vertical = [waiting.pop()], list[Rule]()
        grown = True
        while grown:
            new_vertical = [rule for rule in free if any(_cross(other, rule) for other in horizontal)]
            free = _without(free, new_vertical)
            vertical += new_vertical
            new_horizontal = [rule for rule in waiting if any(_cross(rule, other) for other in vertical)]
            waiting = _without(waiting, new_horizontal)
            horizontal += new_horizontal
            grown = bool(new_vertical or new_horizontal)
        if vertical:
            yield horizontal, vertical


def _without(rules: list[Rule], taken: Sequence[Rule]) -> list[Rule]:
    gone = frozenset(taken)
    return [rule for rule in rules if rule not in gone] if gone else rules


def _cross(horizontal: Rule, vertical: Rule) -> bool:
    return (
        horizontal.start - _NEAR <= vertical.place <= horizontal.end + _NEAR
        and vertical.start - _NEAR <= horizontal.place <= vertical.end + _NEAR
    )


def _borders(across: Sequence[Rule], along: Sequence[Rule]) -> list[float]:
    """Places of the rules `across`, and the ends of those `along` where a table is open at its sides."""
    found: list[float] = []
    ends = (min(rule.start for rule in along), max(rule.end for rule in along))
    for place in sorted({rule.place for rule in across}):
        if not found or place - found[-1] > _NEAR:
            found.append(place)
    if not found:
        return list(ends)
    return [
        *([ends[0]] if ends[0] < found[0] - 2 * _NEAR else []),
        *found,
        *([ends[1]] if ends[1] > found[-1] + 2 * _NEAR else []),
    ]


class _Frame:
    """Cells between `columns` (x) and `bands` (y); where a rule is missing, two cells are one."""

    def __init__(
        self,
        glyphs: Glyphs,
        columns: Sequence[float],
        bands: Sequence[float],
        horizontal: Sequence[Rule],
        vertical: Sequence[Rule],
    ) -> None:
        self._glyphs, self._columns, self._bands = glyphs, columns, bands
        self._horizontal, self._vertical = horizontal, vertical
        self._first = self._first_cells()

    def rows(self, pieces: Sequence[Piece]) -> list[tuple[Cell, ...]]:
        held: dict[tuple[int, int], list[Piece]] = {}
        for piece in pieces:
            for part in self._parts(piece):
                held.setdefault(self._cell(part), []).append(part)
        found: list[tuple[Cell, ...]] = []
        for band in range(len(self._bands) - 1):
            found += self._band(band, held)
        return found

    def _band(self, band: int, held: dict[tuple[int, int], list[Piece]]) -> list[tuple[Cell, ...]]:
        """Its row; several if the rules between them are missing."""
        own = [self._first[band, column] for column in range(len(self._columns) - 1)]
        if all(cell == (band, column) for column, cell in enumerate(own)):
            parts = _unruled_rows([held.get(cell, []) for cell in own])
            if parts:
                return parts
        return [
            tuple(None if cell[1] != column else text(held.get(cell, [])) for column, cell in enumerate(own)),
        ]

    def _parts(self, piece: Piece) -> list[Piece]:
        """The piece, cut at the rules that go through it."""
        band = _index(self._bands, (piece.top + piece.bottom) / 2)
        parts = [piece]
        for column in range(1, len(self._columns) - 1):
            if self._first[band, column] != self._first[band, column - 1]:
                parts[-1:] = split(self._glyphs, parts[-1], self._columns[column])
        return parts

    def _cell(self, piece: Piece) -> tuple[int, int]:
        band = _index(self._bands, (piece.top + piece.bottom) / 2)
        return self._first[band, _index(self._columns, (piece.left + piece.right) / 2)]

    def _first_cells(self) -> dict[tuple[int, int], tuple[int, int]]:
        """For each cell, the first one, from the top left, of those that it is one with."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for band in range(len(self._bands) - 1):
            for column in range(len(self._columns) - 1):
                cell = (band, column)
                if band and not self._has_rule(self._horizontal, self._bands, self._columns, band, column):
                    cell = found[band - 1, column]
                if column and not self._has_rule(self._vertical, self._columns, self._bands, column, band):
                    cell = min(cell, found[band, column - 1])
                found[band, column] = cell
        return found

    @staticmethod
    def _has_rule(
        rules: Sequence[Rule], places: Sequence[float], across: Sequence[float], index: int, other: int
    ) -> bool:
        """Whether a rule is at border `index`, in the middle of cell `other` in the other direction."""
        place, middle = places[index], (across[other] + across[other + 1]) / 2
        return any(abs(rule.place - place) <= _NEAR and rule.start <= middle <= rule.end for rule in rules)


def _index(borders: Sequence[float], place: float) -> int:
    return min(max(bisect.bisect_right(borders, place) - 1, 0), len(borders) - 2)


def text(pieces: Sequence[Piece]) -> tuple[Strand, ...]:
    """The lines of a cell."""
    return tuple(
        concatenated([row[0].strand, *(part for piece in row[1:] for part in (_SPACE, piece.strand))])
        for row in rows(pieces)
    )


_MIN_UNRULED = 3
_MAX_CELL_WORDS = 4.0


def _unruled_rows(cells: Sequence[Sequence[Piece]]) -> list[tuple[Cell, ...]]:
    """Several rows in one band: short lines, nearly all of them with a first cell and another one. Else none."""
    column_of = {id(piece): column for column, cell in enumerate(cells) for piece in cell}
    found = rows([piece for cell in cells for piece in cell])
    words = sum(len(piece.text.split()) for row in found for piece in row)
    full = [row for row in found if column_of[id(row[0])] == 0 and len({column_of[id(piece)] for piece in row}) > 1]
    begun = [row for row in full if not row[0].text[0].islower()]
    if len(found) < _MIN_UNRULED or len(begun) < 0.9 * len(found):
        return []
    if words > _MAX_CELL_WORDS * sum(len({column_of[id(piece)] for piece in row}) for row in found):
        return []
    return [
        tuple(text([piece for piece in row if column_of[id(piece)] == column]) for column in range(len(cells)))
        for row in found
    ]
