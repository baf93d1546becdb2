"""Tables of HTML: which rows are data and which only lay out the page; spans resolved, headers stated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any

from indexing.converters.html.text import CELL_BLOCKS, cell_text

_STRUCTURE = frozenset(("table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "article", "section", "form"))
_MAX_SPAN = 1000
_MAX_CELLS = 2_000_000
_MAX_REPEATED = 200
"""Characters of a cell that is repeated in each row that it covers."""
_LONG = 600
"""Characters of several paragraphs that are a part of the page, not a value."""


@dataclass(slots=True)
class Run:
    """Rows of data that follow each other in one table."""

    rows: list[list[str | None]] = field(default_factory=list)
    header: int | None = None
    done: bool = False


def runs(table: Any) -> dict[Any, Run]:
    """For each `tr` of a table that holds data, the run it belongs to. The other rows are read like the page."""
    lines = list(_lines(table))
    cells = [[cell for cell in line if cell.tag in ("td", "th")] for line in lines]
    header = _header(lines, cells)
    lays_out = [not header and any(map(_is_structure, line)) for line in cells]
    grid = list(_grid(lines, cells, lays_out))
    width = max((len(row) for row in grid), default=0)
    if width < 2 or len(grid) < len(lines) or width * len(lines) > _MAX_CELLS:
        return {}
    found: dict[Any, Run] = {}
    for skip, numbers in groupby(range(len(lines)), key=lays_out.__getitem__):
        run = Run(header=header)
        for number in () if skip else numbers:
            run.rows.append(grid[number])
            found[lines[number]] = run
    return found


def _lines(table: Any) -> Iterator[Any]:
    """The rows of a table without those of tables inside of it: head, body, foot."""
    rows = [item for item in own(table) if item.tag == "tr"]
    order = {"thead": 0, "tfoot": 2}
    return iter(sorted(rows, key=lambda row: order.get(row.getparent().tag, 1)))


def own(root: Any) -> Iterator[Any]:
    """Descendants in order, without those of tables inside of it."""
    stack = list(reversed(root))
    while stack:
        element = stack.pop()
        yield element
        if element.tag != "table":
            stack.extend(reversed(element))


def _header(lines: Sequence[Any], cells: Sequence[Sequence[Any]]) -> int | None:
    """How many rows name the columns, None if the page does not state it."""
    stated = sum(1 for _ in takewhile(lambda pair: _names(*pair), zip(lines, cells, strict=True)))
    if stated == len(lines):
        stated = min(stated, 1)
    reach = [
        number + _span(cell, "rowspan", len(lines))
        for number, line in enumerate(cells[:stated])
        for cell in line
        if cell.tag == "th"
    ]
    if stated:
        return min(max([stated, *reach]), max(len(lines) - 1, stated))
    return 0 if any(cell.tag == "th" for line in cells for cell in line) else None


def _names(line: Any, cells: Sequence[Any]) -> bool:
    filled = [cell for cell in cells if cell.tag == "th" or any(map(str.strip, cell.itertext()))]
    return line.getparent().tag == "thead" or (bool(filled) and all(cell.tag == "th" for cell in filled))


def _grid(lines: Sequence[Any], cells: Sequence[Sequence[Any]], lays_out: Sequence[bool]) -> Iterator[list[str | None]]:
    """Rows with a place for each column, up to a limit. What is left of a rowspan ends with its group of rows."""
    room = _MAX_CELLS
    below: dict[int, tuple[int, str | None]] = {}
    group = None
    for line, here, skip in zip(lines, cells, lays_out, strict=True):
        if line.getparent() is not group:
            group, below = line.getparent(), {}
        row = {column: text for column, (_, text) in below.items()}
        below = {column: (left - 1, text) for column, (left, text) in below.items() if left > 1}
        column = 0
        for cell in here:
            while column in row:
                column += 1
            text, down = "" if skip else cell_text(cell), _span(cell, "rowspan", len(lines))
            for place in range(column, column + _span(cell, "colspan", _MAX_SPAN)):
                if place in row:
                    break
                row[place] = text if place == column else None
                if down > 1:
                    again = text if len(text) <= _MAX_REPEATED else ""
                    below[place] = (down - 1, again if place == column else None)
        room -= len(row)
        if room < 0:
            return
        yield [row.get(place, "") for place in range(max(row, default=-1) + 1)]


def _span(cell: Any, name: str, most: int) -> int:
    value = (cell.get(name) or "").strip()
    if not value.isdecimal():
        return 1
    return min(int(value[:6]), most) or (most if name == "rowspan" else 1)


def _is_structure(cell: Any) -> bool:
    """Whether a cell is a part of the page rather than a value."""
    tags = [element.tag for element in own(cell)]
    if not _STRUCTURE.isdisjoint(tags):
        return True
    return sum(tag in CELL_BLOCKS for tag in tags) > 1 and len("".join(cell.itertext())) > _LONG
