"""Rows of a spreadsheet to documents: one per sheet, or one per some hundred rows of a long sheet.

A blank row ends a table. Rows of one cell above a table are its title. Each piece of a long table begins with the
table's title and header, so it can be understood alone. Only one piece is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from indexing.converters import tables
from indexing.converters.content import Content, TextBuilder, plain_meta, warned

_PIECE = 500
"""Rows of a document."""
_MAX_CELLS = 20_000
"""Cells of a document: pieces of wide tables have fewer rows."""
_MAX_TITLE = 100

Line = list[str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A row with something in it: its number from 1, and its cells as shown. A hidden row has none.

    None is a cell that the one on its left covers.
    """

    number: int
    cells: Line


@dataclass(slots=True)
class Sheet:
    """A sheet that is read while its `rows` are iterated over; `comments` and `warnings` are complete after that."""

    name: str
    rows: Iterable[Row]
    comments: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Block:
    """Rows without a blank one in between. `more`: the table goes on in the next block."""

    rows: list[Row] = field(default_factory=list)
    more: bool = False


def contents(sheets: Iterable[Sheet], *, title: str, meta: Mapping[str, object]) -> Iterator[Content]:
    """Yield the documents of all sheets. `title` and `meta` are those of the workbook. Warnings come with the last."""
    warnings: list[str] = []
    return warned(_contents(sheets, title, meta, warnings), warnings)


def _contents(
    sheets: Iterable[Sheet], title: str, meta: Mapping[str, object], warnings: list[str]
) -> Iterator[Content]:
    for sheet in sheets:
        for builder, (first, last) in _pieces(sheet):
            yield Content(
                builder.text(),
                title,
                plain_meta({**meta, "sheet": sheet.name, "rows": f"{first}-{last}"}),
                tuple(builder.headings),
                tables=tuple(builder.tables),
                part=sheet.name,
            )
        warnings += sheet.warnings


def _pieces(sheet: Sheet) -> Iterator[tuple[TextBuilder, tuple[int, int]]]:
    """Text of some hundred rows each, and the numbers of its first and last row. Comments are at the end."""
    builder, first, last = TextBuilder(), 0, 0
    head, full = _Head(), False
    for block in _blocks(sheet.rows):
        if first and (full or block.rows[-1].number - first >= _PIECE):
            yield builder, (first, last)
            builder, first = TextBuilder(), 0
        first, last, full = first or block.rows[0].number, block.rows[-1].number, block.more
        head.append(block, builder)
    for comment in sheet.comments:
        builder.block(comment)
    if first or sheet.comments:
        yield builder, (first, last)


def _blocks(rows: Iterable[Row]) -> Iterator[_Block]:
    block, cells, last = _Block(), 0, 0
    for row in rows:
        apart, last = bool(block.rows) and row.number > last + 1, row.number
        full = len(block.rows) >= _PIECE or cells >= _MAX_CELLS
        if not row.cells and not apart:
            continue
        if full or apart:
            block.more = full and not apart
            yield block
            block, cells = _Block(), 0
        if row.cells:
            block.rows.append(row)
            cells += len(row.cells)
    if block.rows:
        yield block


class _Head:
    """The title and the header of a table that goes on in the next piece."""

    def __init__(self) -> None:
        self._title = ""
        self._header: list[Line] = []
        self._first_column = 0
        self._goes_on = False

    def append(self, block: _Block, builder: TextBuilder) -> None:
        """Append the block to the text, as a table or as paragraphs."""
        lines = [row.cells for row in block.rows]
        if self._goes_on:
            if self._title:
                builder.heading(2, self._title)
            self._append_table(self._header, lines, builder)
        else:
            self._begin(lines, builder)
        self._goes_on = block.more

    def _begin(self, lines: list[Line], builder: TextBuilder) -> None:
        self._title, self._header = "", []
        if not any(_filled(line) > 1 for line in lines):
            _append_paragraphs(lines, builder)
            return
        while lines and _filled(lines[0]) == 1:
            self._append_caption(lines.pop(0), builder)
        self._first_column = min(_first(line) for line in lines)
        lines = [line[self._first_column :] for line in lines]
        count = tables.header_rows(tables.tidy(lines))
        self._header = lines[:count]
        self._append_table(self._header, lines[count:], builder, cut=False)

    def _append_caption(self, line: Line, builder: TextBuilder) -> None:
        text = _only(line)
        if self._title or len(text) > _MAX_TITLE:
            builder.block(text)
        else:
            self._title = text
            builder.heading(2, text)

    def _append_table(
        self, header: Sequence[Line], lines: Sequence[Line], builder: TextBuilder, *, cut: bool = True
    ) -> None:
        body = [line[self._first_column :] for line in lines] if cut else list(lines)
        builder.table([*header, *body], header=len(header))


def _append_paragraphs(lines: Sequence[Line], builder: TextBuilder) -> None:
    """One short line that is no sentence is the title of the tables below it."""
    if len(lines) == 1 and len(text := _only(lines[0])) <= _MAX_TITLE and not text.endswith((".", "!", ":", ";")):
        builder.heading(1, text)
        return
    for line in lines:
        builder.block(_only(line), group="lines")


def comment(place: str, author: str, text: str) -> str:
    """A comment as it is written into the text."""
    return f"Comment on {place} ({author}): {text}" if author else f"Comment on {place}: {text}"


def _filled(line: Line) -> int:
    return sum(bool(cell) for cell in line)


def _first(line: Line) -> int:
    return next((column for column, cell in enumerate(line) if cell), len(line))


def _only(line: Line) -> str:
    return next((cell for cell in line if cell), "")
