"""Tables without rules: rows near each other with gaps that go through all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from indexing.converters.pdf.glyphs import Glyphs, Piece, split
from indexing.converters.pdf.grids import Grid, text
from indexing.converters.pdf.lines import columns, is_prose, rows
from indexing.converters.pdf.rules import Rule

Row = list[Piece]
_NEAR = 2.5
"""Times the height of a line, from one row to the next."""
_MARKER = re.compile(r"[-*•‣–▪◦·]|[(\[]?\w{1,3}[.)\]]|\d{1,2}")
"""In front of the items of a list."""
_DIGIT = re.compile(r"\d")
_MAX_SINGLE = 2
"""Rows of one piece that may follow each other."""
_MAX_HEADER = 2
_MAX_WORDS = 12
"""Of a cell in the mean."""
_WIDE = 2.0
"""Times the height: gaps between the columns of a table of two rows, as lines of prose have other ones too."""
_TIGHT = 0.8
"""Of the distance between rows: lines that are nearer are one row."""


def unruled(glyphs: Glyphs, pieces: Sequence[Piece], horizontal: Sequence[Rule]) -> Iterator[Grid]:
    """The tables among the pieces, which are in the order in which they were drawn."""
    if len({piece.line for piece in pieces}) == len(pieces):
        return
    waiting = list(_runs(rows(pieces)))[::-1]
    while waiting:
        run = _trimmed(waiting.pop())
        if sum(len(row) > 1 for row in run) < 2:
            continue
        layout = _Layout.of(glyphs, run, horizontal)
        if layout.foreign is not None:
            waiting += [run[layout.foreign + 1 :], run[: layout.foreign]]
        elif _is_table(layout):
            yield layout.grid()


def _runs(found: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows near each other, without many of one piece in between."""
    run: list[Row] = []
    single = 0
    for row in found:
        single = 0 if len(row) > 1 else single + 1
        if run and (_distance(run[-1], row) > _NEAR * _height(row) or single > _MAX_SINGLE):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _trimmed(run: Sequence[Row]) -> list[Row]:
    """From the first row of several pieces to the last, with a row above that names some of its columns."""
    several = [index for index, row in enumerate(run) if len(row) > 1]
    if not several:
        return []
    first, last = several[0], several[-1] + 1
    above = run[first - 1] if first else []
    if above and above[0].left > run[first][1].left - above[0].height and _distance(above, run[first]) < _height(above):
        first -= 1
    while last < len(run) and run[last][0].left > run[several[-1]][0].right:
        last += 1  # the last cell goes on
    return list(run[first:last])


def _distance(above: Row, below: Row) -> float:
    return min(piece.top for piece in below) - max(piece.bottom for piece in above)


def _height(row: Row) -> float:
    return max(piece.height for piece in row)


@dataclass(frozen=True)
class _Layout:
    """Columns of a run of rows. `foreign` is the first row that does not fit, if one is below the header."""

    pieces: Sequence[Piece]
    rows: Sequence[Row]
    """Of the pieces, cut where a border goes through them."""
    spans: Sequence[tuple[float, float]]
    """Left and right of each column."""
    foreign: int | None
    horizontal: Sequence[Rule]

    @classmethod
    def of(cls, glyphs: Glyphs, run: Sequence[Row], horizontal: Sequence[Rule]) -> _Layout:
        found: list[list[Piece]] = []
        for row in sorted(run, key=len, reverse=True):
            with_row = columns([*(piece for column in found for piece in column), *row])
            if len(with_row) >= max(2, len(found)):
                found = with_row
        spans = [
            (min(piece.left for piece in column), max(piece.right for piece in column))
            for column in sorted(found, key=lambda column: column[0].left)
        ]
        borders = [(right + left) / 2 for (_, right), (left, _) in pairwise(spans)]
        cut = [[part for piece in row for part in _cut(glyphs, piece, borders)] for row in run]
        pieces = [piece for row in run for piece in row]
        layout = cls(pieces, cut, spans, None, horizontal)
        wrong = [index for index, row in enumerate(cut) if any(len(layout.columns(piece)) != 1 for piece in row)]
        below = [index for index in wrong if index >= _MAX_HEADER or len(cut[index]) == 1 == len(spans)]
        return cls(pieces, cut, spans, below[0] if below else None, horizontal)

    @property
    def borders(self) -> list[float]:
        return [(right + left) / 2 for (_, right), (left, _) in pairwise(self.spans)]

    def columns(self, piece: Piece) -> range:
        """The columns that it covers."""
        left, right = piece.left, piece.right
        for rule in self.horizontal:
            if 0 <= rule.place - piece.bottom < piece.height and rule.start - 2 <= left and right <= rule.end + 2:
                left, right = (left, right) if rule.start <= self.spans[0][1] else (rule.start, rule.end)
        edges = [float("-inf"), *self.borders, float("inf")]
        slack = 0.1 * (right - left)
        found = [
            index for index, (start, end) in enumerate(pairwise(edges)) if left < end - slack and right > start + slack
        ]
        return range(found[0], found[-1] + 1) if found else range(0)

    def cells(self, row: Row) -> list[list[Piece] | None]:
        found: list[list[Piece] | None] = [[] for _ in self.spans]
        for piece in row:
            covered = self.columns(piece)
            own = found[covered[0]]
            found[covered[0]] = [*(own or []), piece]
            for column in covered[1:]:
                found[column] = found[column] or None
        return found

    def grid(self) -> Grid:
        merged: list[list[list[Piece] | None]] = []
        begun: list[int] = []
        for index, row in enumerate(self.rows):
            cells = self.cells(row)
            if index and self._goes_on(index, merged[-1], cells):
                merged[-1] = [
                    None if one is None and not other else [*(one or []), *(other or [])]
                    for one, other in zip(merged[-1], cells, strict=True)
                ]
            else:
                merged.append(cells)
                begun.append(index)
        if len(merged) > 1 and None in merged[0]:  # names above names: the others go over both rows
            merged[0] = [below if cell == [] else cell for cell, below in zip(*merged[:2], strict=True)]
        return Grid(
            tuple(tuple(None if cell is None else text(cell) for cell in row) for row in merged),
            tuple(self.borders),
            self.spans[0][0],
            min(piece.top for piece in self.pieces),
            self.spans[-1][1],
            max(piece.bottom for piece in self.pieces),
            tuple(self.pieces),
            self._header(begun),
        )

    def _header(self, begun: Sequence[int]) -> int | None:
        """How many rows, which begin with lines `begun`, are above the only rule; none of words beside words."""
        ruled = [index for index in range(1, len(self.rows)) if self._rule_above(index)]
        if len(ruled) == 1:
            return sum(index < ruled[0] for index in begun)
        words = all(
            not _DIGIT.search(piece.text) for row in self.rows for piece in row if piece.left > self.spans[0][1]
        )
        return 0 if words and not ruled and len(self.spans) == 2 else None

    def _goes_on(self, index: int, above: Sequence[list[Piece] | None], below: Sequence[list[Piece] | None]) -> bool:
        """Whether the cells `below`, those of row `index`, are further lines of the row `above`."""
        ruled = [self._rule_above(number) for number in range(1, len(self.rows))]
        if sum(ruled) >= 2 and 5 * sum(ruled) >= 2 * len(ruled):
            return not ruled[index - 1]
        filled = {column for column, cell in enumerate(below) if cell}
        if None in below or None in above or not filled < {column for column, cell in enumerate(above) if cell}:
            return False
        distances = [_distance(one, other) + _height(other) for one, other in pairwise(self.rows)]
        if distances[index - 1] < _TIGHT * max(distances[max(0, index - 3) : index + 3]):
            return True
        return 0 not in filled and all((below[column] or [])[0].text[0].islower() for column in filled)

    def _rule_above(self, index: int) -> bool:
        above, below = self.rows[index - 1], self.rows[index]
        top = median(piece.bottom for piece in above) - 0.5 * _height(above)
        bottom = median(piece.top for piece in below) + 0.5 * _height(below)
        width = self.spans[-1][1] - self.spans[0][0]
        return any(top < rule.place < bottom and rule.end - rule.start > 0.7 * width for rule in self.horizontal)


def _cut(glyphs: Glyphs, piece: Piece, borders: Sequence[float]) -> list[Piece]:
    parts = [piece]
    for border in borders:
        parts[-1:] = split(glyphs, parts[-1], border, at_space=True)
    return parts


def _is_table(layout: _Layout) -> bool:
    full = [row for row in layout.rows if len({layout.columns(piece) for piece in row}) > 1]
    if len(layout.spans) < 2 or len(full) < (3 if len(layout.spans) == 2 else 2):
        return False
    gap = min(left - right for (_, right), (left, _) in pairwise(layout.spans))
    if len(full) == 2 and gap < _WIDE * _height(full[0]):
        return False
    by_column = [
        [piece for row in layout.rows for piece in row if layout.columns(piece) == range(column, column + 1)]
        for column in range(len(layout.spans))
    ]
    markers = sum(bool(_MARKER.fullmatch(piece.text)) for piece in by_column[0])
    if len(by_column) == 2 and 3 * markers > 2 * len(by_column[0]):
        return False
    if sum(is_prose(column) for column in by_column) > 1:
        return False
    cells = sum(len(row) for row in full)
    words = sum(len(piece.text.split()) for row in full for piece in row)
    return words <= _MAX_WORDS * cells and _by_row(full)


def _by_row(full: Sequence[Row]) -> bool:
    """Whether rows were drawn one after the other, as columns of prose are not."""
    lines = [{piece.line for piece in row} for row in full]
    return 2 * sum(max(above) < min(below) for above, below in pairwise(lines)) >= len(lines) - 1
