"""Text with tables as HTML: paragraphs between tables that a reader can see as tables, with a range marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from search_app.api.schemas import CellOut, TableOut
from ui.highlight import Range, escape, marked

Prose = Callable[[str, Sequence[Range]], str]
"""Paragraphs as HTML, from a text and the ranges to mark in it."""


class Part(NamedTuple):
    """`text` begins at character `offset` of the document; the ranges `marks` of the document are marked."""

    text: str
    offset: int
    marks: tuple[Range, ...]

    @property
    def stop(self) -> int:
        return self.offset + len(self.text)

    def between(self, first: int, last: int) -> str:
        """The characters [first, last) of the document that are in this part."""
        return self.text[max(0, first - self.offset) : max(0, last - self.offset)]

    def marks_from(self, place: int) -> list[Range]:
        """The marks in a text that begins at `place`."""
        return [(start - place, end - place) for start, end in self.marks]


def flow(part: Part, tables: Sequence[TableOut], prose: Prose, *, near: tuple[int, int] | None = None) -> str:
    """The part; with `near`, the paragraphs and rows of tables that have a character in that range of the document."""
    first, stop = near or (part.offset, part.stop)
    place, pieces = part.offset, list[str]()
    for table in tables:
        if table.start < part.stop and table.end > part.offset and _can_show(table, part):
            pieces.append(_paragraphs(part, place, table.start, prose) if table.start > first else "")
            pieces.append(_table(part, table, max(first, part.offset), min(stop, part.stop), cut=near is not None))
            place = max(place, table.end)
    return "".join([*pieces, _paragraphs(part, place, part.stop, prose) if place < stop else ""])


def in_sight(part: Part, tables: Sequence[TableOut]) -> Part:
    """The part without marks in the header of a table whose columns are named already."""
    hidden = [table for table in tables if not table.header]
    return part._replace(marks=tuple(mark for mark in part.marks if all(_shows(table, *mark) for table in hidden)))


def _can_show(table: TableOut, part: Part) -> bool:
    """Whether each mark, where it is in the table, is in a cell that is shown."""
    return all(_shows(table, max(start, part.offset), min(end, part.stop)) for start, end in part.marks)


def _shows(table: TableOut, start: int, end: int) -> bool:
    first, last = max(start, table.start), min(end, table.end)
    return first >= last or any(cell.start < last and cell.end > first for row in table.rows for cell in row)


def _paragraphs(part: Part, first: int, last: int, prose: Prose) -> str:
    text = part.between(first, last)
    begin = max(first, part.offset) + len(text) - len(text.lstrip("\n"))
    text = text.strip("\n")
    return prose(text, part.marks_from(begin)) if text.strip() else ""


def _table(part: Part, table: TableOut, begin: int, end: int, *, cut: bool) -> str:
    """The rows in [begin, end) of the document; with `cut`, "…" for the others."""
    kept = [number for number, row in enumerate(table.rows) if row[0].start < end and row[-1].end > begin]
    if not kept:
        return ""
    first, last = kept[0], kept[-1] + 1
    width = len(table.columns) or max(row[-1].column + 1 if len(row) > 1 else 1 for row in table.rows)
    head = _head(part, table.rows[first : table.header], len(table.columns)) or _names(table.columns)
    more = f'<tr><td class="sa-cut" colspan="{width}">…</td></tr>'
    above = more if cut and first > table.header else ""
    below = more if cut and last < len(table.rows) else ""
    body = "".join(_row(part, row, width) for row in table.rows[max(first, table.header) : last])
    return (
        '<div class="sa-table" role="region" aria-label="Table" tabindex="0"><table>'
        f"{f'<thead>{head}</thead>' if head else ''}<tbody>{above}{body}{below}</tbody></table></div>"
    )


def _names(columns: Sequence[str]) -> str:
    if not any(columns):
        return ""
    names = "".join(f'<th dir="auto">{escape(name)}</th>' for name in columns)
    return f"<tr>{names}</tr>"


def _head(part: Part, rows: Sequence[Sequence[CellOut]], width: int) -> str:
    """Header rows. A cell over several columns is as wide as they are; one over several rows is shown in the first."""
    above: dict[int, str] = {}
    lines = []
    for row in rows:
        texts = {cell.column: _content(part, cell) for cell in row}
        ends = [*list(texts)[1:], width]
        cells = (
            f'<th colspan="{max(1, end - column)}" dir="auto">{"" if above.get(column) == text else text}</th>'
            for (column, text), end in zip(texts.items(), ends, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
        above = texts
    return "".join(lines)


def _row(part: Part, row: Sequence[CellOut], width: int) -> str:
    if len(row) == 1 and row[0].column >= width:  # the title of the rows below it
        return f'<tr><th class="sa-across" colspan="{width}" dir="auto">{_content(part, row[0])}</th></tr>'
    texts = {cell.column: _content(part, cell) for cell in row}
    cells = "".join(f'<td dir="auto">{texts.get(column, "")}</td>' for column in range(width))
    return f"<tr>{cells}</tr>"


def _content(part: Part, cell: CellOut) -> str:
    begin = max(cell.start, part.offset)
    return marked(part.between(cell.start, cell.end), *part.marks_from(begin))
