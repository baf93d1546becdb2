"""Lines of pages to the text of a document: paragraphs that run over columns and pages are whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile
from statistics import median

from indexing.converters.content import TextBuilder
from indexing.converters.pdf.glyphs import HYPHEN
from indexing.converters.pdf.grids import Cell, Grid
from indexing.converters.pdf.hyphens import Hyphens
from indexing.converters.pdf.lines import Line
from indexing.converters.pdf.strands import Source, Strand, boxes, concatenated, runs
from indexing.converters.tables import is_title
from search_app.types import Page, Table

_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*$")
_NEW_BLOCK = re.compile(r"[-*•‣–▪◦]|\(?\w{1,3}[.)]\s")
_GAP = 0.5
"""Of a line's height: more than that beyond the usual gap between lines ends a paragraph."""
_SAME_SIZE = 0.2
_FULL = 0.8
"""Of the column's width: a line that is shorter ends a paragraph."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A line among the `neighbours` of its page, and the gap between lines that is usual there."""

    line: Line
    page: int
    gap: float
    neighbours: Sequence[Line]

    @property
    def text(self) -> str:
        return self.line.strand.text

    @property
    def border(self) -> float:
        """The right border of its column."""
        column = [line for line in self.neighbours if line.left < self.line.right and line.right > self.line.left]
        return max(line.right for line in column)


def placed(lines: Sequence[Line], page: int) -> list[Placed]:
    """The lines of a page."""
    gaps = [after.top - before.bottom for before, after in pairwise(lines) if after.top > before.top]
    gap = median(gaps) if gaps else 0.0
    return [Placed(line, page, gap, lines) for line in lines]


class Flow:
    """Builds the text. Lines and tables come in order; `hyphens` decides about words that go over two lines."""

    def __init__(self, hyphens: Hyphens) -> None:
        self._builder = TextBuilder()
        self._hyphens = hyphens
        self._paragraph: list[Placed] = []
        self._table: list[Grid] = []
        self.sources: list[Source] = []

    def line(self, line: Placed) -> None:
        self._end_table()
        if self._paragraph and not self._goes_on(self._paragraph[-1], line):
            self._end_paragraph()
        self._paragraph.append(line)

    def table(self, grid: Grid, *, first: bool) -> None:
        """`first`: nothing is above it on its page."""
        self._end_paragraph()
        if not (self._table and first and self._table[-1].goes_on(grid)):
            self._end_table()
        self._table.append(grid)

    def _end_table(self) -> None:
        if self._table:
            self._add_table(_rows(self._table), self._table[0].header)
            self._table = []

    def _add_table(self, rows: Sequence[Sequence[Cell]], header: int | None) -> None:
        lines = [[None if cell is None else self._in_one(cell) for cell in row] for row in rows]
        while len(lines) > 1 and _is_title(lines[0]) and not _is_title(lines[-1]):
            self._add(lines.pop(0)[0] or Strand(""))
            header = header and header - 1
        self._builder.table([[None if cell is None else cell.text for cell in line] for line in lines], header=header)
        for line, cells in zip(lines, self._builder.tables[-1].rows, strict=True):
            for cell in cells:
                strand = line[cell.column if cell.column < len(line) else 0]
                assert strand is not None
                self.sources += [source.moved(cell.start) for source in strand.sources]

    def _in_one(self, lines: Sequence[Strand]) -> Strand:
        parts: list[Strand] = []
        for line, following in pairwise(lines):
            parts += self._end(line, following.text, " ")
        return _plain(concatenated([*parts, *lines[-1:]]))

    def _end(self, line: Strand, following: str, between: str) -> list[Strand]:
        """The line and what comes between it and the one that follows."""
        hyphen = self._hyphens.between(line.text, following)
        if hyphen is None or hyphen.isspace():
            return [line, Strand(between)]
        return [line] if hyphen else [line[:-1]]

    def _end_paragraph(self) -> None:
        if self._paragraph:
            self._add(self._joined())
            self._paragraph = []

    def _add(self, strand: Strand) -> None:
        start = self._builder.block(strand.text)
        self.sources += [source.moved(start) for source in strand.sources]

    def _joined(self) -> Strand:
        parts: list[Strand] = []
        for line, following in pairwise(self._paragraph):
            between = " " if following.page > line.page else "\n"
            parts += self._end(line.line.strand, following.text, between)
        return _plain(concatenated([*parts, self._paragraph[-1].line.strand]))

    def _goes_on(self, before: Placed, after: Placed) -> bool:
        """Whether both are of one paragraph."""
        if before.page == after.page and after.line.top > before.line.top:
            extra = after.line.top - before.line.bottom - before.gap
            return extra <= _GAP * min(before.line.height, after.line.height)
        return self._is_unfinished(before, after)

    def _is_unfinished(self, before: Placed, after: Placed) -> bool:
        """Whether a sentence runs from the end of a column or page to the next one."""
        if abs(before.line.height - after.line.height) > _SAME_SIZE * max(before.line.height, after.line.height):
            return False
        if _SENTENCE_END.search(before.text) or _NEW_BLOCK.match(after.text):
            return False
        if after.text[0].islower() or before.text.endswith((",", "-", HYPHEN)):
            return True
        if not (before.text[-1].isalpha() and after.text[0].isalpha()):
            return False
        width = before.border - before.line.left
        return before.line.right - before.line.left >= _FULL * width and len(before.text.split()) > 3

    def text(self) -> str:
        """The document so far."""
        self._end_paragraph()
        self._end_table()
        return self._builder.text()

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(self._builder.tables)

    def pages(self, count: int) -> list[Page]:
        """All pages, which tile the text; one without text is empty."""
        start = end = len(self.text())
        found: list[Page] = []
        sources = {page: list(group) for page, group in groupby(self.sources, key=lambda source: source.page)}
        for number in range(count, 0, -1):
            own = sources.get(number, [])
            start = 0 if number == 1 else own[0].start if own else end
            found.append(Page(number, start, end, runs(own), boxes(own)))
            end = start
        return found[::-1]


def _plain(strand: Strand) -> Strand:
    """With a hyphen for each mark of one."""
    return Strand(strand.text.replace(HYPHEN, "-"), strand.sources)


def _rows(grids: Sequence[Grid]) -> list[tuple[Cell, ...]]:
    """The rows of a table in parts; a header that comes again is left out."""
    first, *others = grids
    found = [row for row in first.rows if any(row)]
    for grid in others:
        rows = [row for row in grid.rows if any(row)]
        same = takewhile(lambda pair: _texts(pair[0]) == _texts(pair[1]), zip(rows[:-1], found, strict=False))
        found += rows[sum(1 for _ in same) :]
    return found


def _texts(row: Sequence[Cell]) -> list[str]:
    return [" ".join(line.text for line in cell or ()) for cell in row]


def _is_title(line: Sequence[Strand | None]) -> bool:
    return is_title([None if cell is None else cell.text for cell in line])
