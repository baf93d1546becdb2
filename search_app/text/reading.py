"""What encoder and reader see of a passage: its text, with the names of the columns before the cells of a table.

A row `Portugal | EUR 46` reads `Country: Portugal; Daily allowance: EUR 46`, so that each row can be understood alone.
The passage keeps its text as the document has it; its `edits` lead from one to the other.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search_app.types import Cell, Edit, Passage, Span, Table

SEPARATOR = " | "
"""Between two cells in the text of a document."""
_MAX_LEAD = 80
"""Characters of a row's first cell that serve as its name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`text` is read; `kept` lists its parts that come from the passage, in order.

    Each is (start in `text`, start in the passage's text, length). The rest of `text` was put in, and no answer can be
    marked there.
    """

    text: str
    kept: tuple[tuple[int, int, int], ...]

    def span(self, start: int, end: int) -> Span | None:
        """The place of characters [start, end) of `text` in the passage's text, None if one of them was put in."""
        index = bisect.bisect_right(self.kept, start, key=lambda piece: piece[0]) - 1
        if index < 0:
            return None
        first, origin, length = self.kept[index]
        if start >= end or end > first + length:
            return None
        return Span(origin + start - first, origin + end - first)


def reading(passage: Passage) -> Reading:
    """What encoder and reader see of a passage, without its title."""
    return edited(passage.text, passage.edits)


def edited(text: str, edits: Sequence[Edit]) -> Reading:
    """`text` with the edits applied, which are in order and do not overlap."""
    parts: list[str] = []
    kept: list[tuple[int, int, int]] = []
    length = position = 0

    def keep(end: int) -> None:
        nonlocal length
        if end > position:
            kept.append((length, position, end - position))
            parts.append(text[position:end])
            length += end - position

    for edit in edits:
        keep(edit.start)
        parts.append(edit.text)
        length += len(edit.text)
        position = edit.end
    keep(len(text))
    return Reading("".join(parts), tuple(kept))


def titled(title: str, text: str) -> str:
    """The title path and the text of a passage as one text."""
    return f"{title}\n{text}" if title else text


def keyword_texts(title: str, text: str, edits: Sequence[Edit]) -> tuple[str, ...]:
    """What BM25 counts the words of: the title path, the text, and each name of a column once."""
    return (title, text, *dict.fromkeys(edit.text for edit in edits))


def edits_of(text: str, tables: Sequence[Table], start: int, end: int) -> tuple[Edit, ...]:
    """The edits of the passage [start, end) of a document with `text` and `tables`, in the passage's characters."""
    first = bisect.bisect_right(tables, start, key=lambda table: table.end)
    found: list[Edit] = []
    for table in tables[first:]:
        if table.start >= end:
            break
        found += _table_edits(text, table, start, end)
    return tuple(Edit(edit.start - start, edit.end - start, edit.text) for edit in found)


def _table_edits(text: str, table: Table, start: int, end: int) -> Iterator[Edit]:
    """In the document's characters."""
    head, body = table.rows[: table.header], table.rows[table.header :]
    if head and body and start <= body[0][0].start < end:
        yield Edit(max(start, head[0][0].start), body[0][0].start, "")  # its names are in front of each value
    first = max(0, bisect.bisect_right(body, start, key=lambda row: row[0].start) - 1)
    for row in body[first:]:
        if row[0].start >= end:
            break
        yield from _row_edits(text, table, row, start, end)


def _row_edits(text: str, table: Table, row: Sequence[Cell], start: int, end: int) -> Iterator[Edit]:
    """Each cell gets the name of its column; a row without its first cells gets the first one back as its own name."""
    filled = [cell for cell in row if cell.end > cell.start]
    between = ": " if not table.columns and len(filled) == 2 else "; "
    before = row[0].start
    for number, cell in enumerate(filled):
        if cell.end > start and cell.start < end:
            label = _label(table, cell)
            if before < start or (before == start and number > 0):  # the passage begins inside of this row
                yield Edit(start, max(start, cell.start), _lead(text, table, filled[:number], between) + label)
            elif number or label or cell.start > before:
                yield Edit(before, cell.start, (between if number else "") + label)
        before = cell.end
    if start <= before < row[-1].end <= end:  # empty cells at its end
        yield Edit(before, row[-1].end, "")


def _label(table: Table, cell: Cell) -> str:
    name = table.columns[cell.column] if cell.column < len(table.columns) else ""
    return f"{name}: " if name else ""


def _lead(text: str, table: Table, missing: Sequence[Cell], between: str) -> str:
    """The name of a row: its first cell, unless that is long."""
    if not missing or missing[0].end - missing[0].start > _MAX_LEAD:
        return ""
    return _label(table, missing[0]) + text[missing[0].start : missing[0].end] + between
