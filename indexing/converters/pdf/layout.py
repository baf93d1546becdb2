"""The lines and tables of a page in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from indexing.converters.pdf import aligned, grids
from indexing.converters.pdf.glyphs import Glyphs, Piece
from indexing.converters.pdf.grids import Grid
from indexing.converters.pdf.lines import Line, lines
from indexing.converters.pdf.rules import Rules


def blocks(glyphs: Glyphs, pieces: Sequence[Piece], rules: Rules) -> Iterator[Line | Grid]:
    """In PDFium's order; a table comes where its first piece was drawn."""
    tables = list(grids.ruled(glyphs, pieces, rules))
    filled = {piece.line for piece in pieces if piece.filled}  # a label and a field are no row of a table
    free = [piece for piece in _without(pieces, tables) if piece.line not in filled]
    tables += aligned.unruled(glyphs, free, rules.horizontal)
    if not tables:
        yield from lines(pieces)
        return
    order = {id(piece): index for index, piece in enumerate(pieces)}
    tables.sort(key=lambda table: _first(table, order))
    free = _without(pieces, tables)
    for table in tables:
        first = _first(table, order)
        before = [piece for piece in free if order[id(piece)] < first]
        yield from lines(before)
        free = free[len(before) :]
        yield table
    yield from lines(free)


def _first(table: Grid, order: dict[int, int]) -> int:
    return min(order[id(piece)] for piece in table.pieces)


def _without(pieces: Sequence[Piece], tables: Sequence[Grid]) -> list[Piece]:
    inside = {id(piece) for table in tables for piece in table.pieces}
    return [piece for piece in pieces if id(piece) not in inside]
