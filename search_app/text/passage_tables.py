"""The tables of a passage, found from its edits: enough to draw them without the whole document."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from search_app.text.reading import SEPARATOR
from search_app.types import Cell, Edit, Passage, Table


class _Named(NamedTuple):
    """A cell with the name of its column; in the passage's characters."""

    start: int
    end: int
    name: str


class _Row(NamedTuple):
    start: int
    end: int
    cells: list[_Named]


def passage_tables(passage: Passage) -> tuple[Table, ...]:
    """In the document's characters. Rows of a header are inside of a table, but not among its rows.

    A row with one unnamed cell looks like a paragraph here, and ends its table. Cells that are empty are left out.
    """
    if not passage.edits:
        return ()
    headers = {edit.end: edit.start for edit in passage.edits if "\n" in passage.text[edit.start : edit.end]}
    return tuple(_table(rows, headers, passage.start) for rows in _groups(_rows(passage)))


def _table(rows: Sequence[_Row], headers: dict[int, int], offset: int) -> Table:
    columns = _columns(row.cells for row in rows)
    start = headers.get(rows[0].start, rows[0].start)
    placed = tuple(tuple(_placed(row.cells, columns, offset)) for row in rows)
    return Table(start + offset, rows[-1].end + offset, tuple(columns), 0, placed)


def _groups(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Rows that follow each other."""
    group: list[_Row] = []
    for row in rows:
        if group and row.start != group[-1].end + 1:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _rows(passage: Passage) -> Iterator[_Row]:
    """The lines with edits, except those of a header, which one edit takes out together with their line breaks."""
    for line in re.finditer(r"[^\n]+", passage.text):
        edits = [edit for edit in passage.edits if line.start() <= edit.start and edit.end <= line.end()]
        cells = _cells(passage.text, edits, line.start(), line.end()) if edits else ()
        if filled := [cell for cell in cells if cell.end > cell.start]:
            yield _Row(line.start(), line.end(), filled)


def _cells(text: str, edits: Sequence[Edit], start: int, end: int) -> Iterator[_Named]:
    """The parts of a line between its edits."""
    last = start + len(text[start:end].rstrip(SEPARATOR))
    if edits[0].start > start:
        yield _Named(start, edits[0].start, "")
    for edit, following in itertools.zip_longest(edits, edits[1:]):
        yield _Named(edit.end, max(edit.end, following.start if following else last), _name(edit))


def _name(edit: Edit) -> str:
    label = edit.text.removesuffix(": ")
    if label == edit.text:
        return ""
    # In front of a passage, the name of the row may come first.
    return label.rpartition("; ")[2] if edit.start == 0 else label.removeprefix("; ")


def _columns(rows: Iterable[Sequence[_Named]]) -> list[str]:
    """The names of all columns, in an order that has those of each row in its own order."""
    columns: list[str] = []
    for cells in rows:
        place = 0
        for cell in cells:
            if cell.name not in columns[place:]:
                columns.insert(place, cell.name)
            place = columns.index(cell.name, place) + 1
    return columns


def _placed(cells: Sequence[_Named], columns: Sequence[str], offset: int) -> Iterator[Cell]:
    place = 0
    for cell in cells:
        place = columns.index(cell.name, place) + 1
        yield Cell(cell.start + offset, cell.end + offset, place - 1)
