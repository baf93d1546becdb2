"""Rows of cells: which of them are a header, and what it calls the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from indexing.converters.characters import clean

Line = list[str | None]
_VALUE = re.compile(r"^[^\w]*\d|\d[^\w]*$")
"""A number, an amount or a date, with its sign, currency or unit."""
_MAX_HEADER = 3
_MAX_NAME = 80
"""A longer name would take the passage's room from the values."""


def tidy(rows: Sequence[Sequence[str | None]]) -> list[Line]:
    """Rows with something in them, as wide as the widest; white space in a cell is a space."""
    lines = [[None if cell is None else " ".join(clean(cell).split()) for cell in row] for row in rows]
    lines = [line for line in lines if any(line)]
    width = max((len(line) for line in lines), default=0)
    used = max((column + 1 for line in lines for column, cell in enumerate(line) if cell), default=0)
    return [[*line, *([""] * (width - len(line)))][: max(used, 1)] for line in lines]


def is_title(line: Line) -> bool:
    """Whether one cell covers a row of several columns."""
    return len(line) > 1 and bool(line[0]) and all(cell is None for cell in line[1:])


def shown(line: Line) -> list[tuple[int, str]]:
    """(column, text) of the cells up to the last one with text. A cell across all columns belongs to none."""
    last = max(column for column, cell in enumerate(line) if cell)
    cells = [(column, cell) for column, cell in enumerate(line[: last + 1]) if cell is not None]
    return [(len(line), cells[0][1])] if is_title(line) else cells


def header_rows(lines: Sequence[Line]) -> int:
    """How many of the first rows name the columns.

    A header has words where the rows below have values. Two columns with values of several kinds on the right are
    names and values, without a header.
    """
    if len(lines) < 2 or len(lines[0]) < 2:
        return 0
    found, most = 0, min(_MAX_HEADER, len(lines) - 1)
    while found < most and _names(lines[found]) and (found == 0 or None in lines[found - 1]):
        found += 1
    if found and len(lines[0]) == 2 and _pairs(lines):
        return 0
    return found


def column_names(header: Sequence[Line]) -> tuple[str, ...]:
    """The names of the columns from top to bottom, as in "Day rate Hotel"; a name that covers several is in each."""
    if not header:
        return ()
    filled: list[list[str]] = []
    for line in header:
        row: list[str] = []
        for cell in line:
            row.append(row[-1] if cell is None and row else cell or "")
        filled.append(row)
    names = [" ".join(dict.fromkeys(name for name in column if name)) for column in zip(*filled, strict=True)]
    return tuple(name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME].rstrip()}…" for name in names)


def _names(line: Line) -> bool:
    """Whether a row may be a header: words only, in more than half of its columns."""
    cells = [cell for cell in line if cell]
    covered = sum(cell is None for cell in line)
    return 2 * (len(cells) + covered) > len(line) and not any(is_value(cell) for cell in cells)


def _pairs(lines: Sequence[Line]) -> bool:
    names = [line[0] or "" for line in lines]
    if all(name.endswith(":") for name in names):
        return True
    values = [bool(is_value(line[1] or "")) for line in lines[1:]]
    return any(values) and not all(values)


def is_value(cell: str) -> bool:
    """Whether a cell has a number, an amount or a date rather than a name. A year alone may be a name."""
    return _VALUE.search(cell) is not None and not re.fullmatch(r"(19|20)\d\d|Q[1-4]|[A-Za-z]+ ?\d{1,2}", cell)
