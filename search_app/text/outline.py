"""Headings, pages and tables of a document, and the edits of a passage, as lists for JSON: the same in every store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from search_app.types import Box, Cell, Edit, Heading, Page, Run, Table


class Outlined(Protocol):
    """What has headings, pages and tables."""

    @property
    def headings(self) -> tuple[Heading, ...]: ...

    @property
    def pages(self) -> tuple[Page, ...]: ...

    @property
    def tables(self) -> tuple[Table, ...]: ...


def to_lists(outlined: Outlined) -> tuple[list[Any], list[Any], list[Any]]:
    """Headings, pages and tables."""
    headings = [[item.level, item.title, item.start, item.end] for item in outlined.headings]
    return headings, [_page(page) for page in outlined.pages], [_table(table) for table in outlined.tables]


def from_lists(
    headings: Iterable[Any], pages: Iterable[Any], tables: Iterable[Any] = ()
) -> tuple[tuple[Heading, ...], tuple[Page, ...], tuple[Table, ...]]:
    """Headings, pages and tables from plain lists."""
    return (
        tuple(Heading(*values) for values in headings),
        tuple(
            Page(number, start, end, tuple(Run(*run) for run in runs), tuple(Box(*box) for box in (boxes or [[]])[0]))
            for number, start, end, runs, *boxes in pages
        ),
        tuple(
            Table(start, end, tuple(columns), header, tuple(tuple(Cell(*cell) for cell in row) for row in rows))
            for start, end, columns, header, rows in tables
        ),
    )


def edits_to_list(edits: Iterable[Edit]) -> list[Any]:
    """The edits of a passage."""
    return [[edit.start, edit.end, edit.text] for edit in edits]


def edits_from_list(edits: Iterable[Any]) -> tuple[Edit, ...]:
    """The edits of a passage from plain lists."""
    return tuple(Edit(*values) for values in edits)


def _page(page: Page) -> list[Any]:
    values: list[Any] = [page.number, page.start, page.end]
    values.append([[run.start, run.raw_start, run.length] for run in page.runs])
    if page.boxes:
        values.append(
            [
                [box.start, box.length, *(round(side, 4) for side in (box.left, box.top, box.right, box.bottom))]
                for box in page.boxes
            ]
        )
    return values


def _table(table: Table) -> list[Any]:
    rows = [[[cell.start, cell.end, cell.column] for cell in row] for row in table.rows]
    return [table.start, table.end, list(table.columns), table.header, rows]
