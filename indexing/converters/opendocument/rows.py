"""Rows of a table, with their repeated and merged cells, in texts and spreadsheets alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexing.converters import markup

MAX_COLUMNS = 16_384


class Spans:
    """Cells over several rows or columns: repeated in each row, and covering those on their right."""

    def __init__(self, text: Callable[[Any], str]) -> None:
        self._text = text
        self._open: dict[int, tuple[int, int, str]] = {}

    def filled(self, row: Any) -> dict[int, str | None]:
        """The row's filled cells by column from 0; None for one that the cell on its left covers."""
        cells: dict[int, str | None] = {}
        opened = {}
        column = 0
        for cell in row:
            times = repeated(cell, "columns")
            if markup.name_of(cell) == "table-cell" and (text := self._text(cell)):
                width = _number(markup.value_of(cell, "number-columns-spanned"))
                height = _number(markup.value_of(cell, "number-rows-spanned"))
                for place in range(column, min(column + times, MAX_COLUMNS)):
                    _cover(cells, place, width, text)
                if height > 1:
                    opened[column] = (height - 1, width, text)
            column += times
        for place, (left, width, text) in list(self._open.items()):
            _cover(cells, place, width, text)
            if left > 1:
                opened[place] = (left - 1, width, text)
        self._open = opened
        return cells


def _cover(cells: dict[int, str | None], column: int, width: int, text: str) -> None:
    cells[column] = text
    cells.update(dict.fromkeys(range(column + 1, min(column + width, MAX_COLUMNS))))


def repeated(element: Any, what: str) -> int:
    """How often a row or cell is there; `what` is "rows" or "columns"."""
    return _number(markup.value_of(element, f"number-{what}-repeated"))


def _number(text: str) -> int:
    """At least 1."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
