"""Workbooks of Excel 97 to 2003 (xls), by xlrd."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from indexing.converters import numbers
from indexing.converters.content import Content, ConversionError
from indexing.converters.sheets import Row, Sheet, contents
from indexing.converters.workbook import Merged, line_of

_TEXT, _NUMBER, _DATE, _BOOLEAN, _ERROR = 1, 2, 3, 4, 5


def convert(path: Path) -> Iterator[Content]:
    """Yield one document per visible sheet, or several for a long one."""
    import xlrd

    try:
        book = xlrd.open_workbook(str(path), formatting_info=True, on_demand=True, logfile=StringIO())
        yield from contents(_sheets(book), title="", meta={"author": book.user_name})
    except (ConversionError, MemoryError):
        raise
    except (xlrd.XLRDError, xlrd.compdoc.CompDocError, struct.error, AssertionError) as error:
        raise ConversionError(_reason(error)) from error
    except Exception as error:  # a damaged file raises anything in its parser of records
        raise ConversionError(f"it cannot be read as an Excel workbook: it is damaged ({error})") from error


def _reason(error: Exception) -> str:
    if "encrypted" in str(error):
        return "it is encrypted; save a copy without a password"
    return f"it cannot be read as an Excel workbook: {error}"


def _sheets(book: Any) -> Iterator[Sheet]:
    for number, name in enumerate(book.sheet_names()):
        found = book.sheet_by_index(number)
        sheet = Sheet(name, ())
        if found.visibility:
            sheet.warnings.append(f"sheet {name} is hidden and was left out")
        else:
            sheet.rows = _rows(book, found, sheet)
        yield sheet
        book.unload_sheet(number)


def _rows(book: Any, found: Any, sheet: Sheet) -> Iterator[Row]:
    merged = Merged([(top + 1, left, bottom, right - 1) for top, bottom, left, right in found.merged_cells])
    hidden_columns = {column for column, info in found.colinfo_map.items() if info.hidden}
    hidden = 0
    for row in range(found.nrows):
        shown = {column: _shown(book, cell) for column, cell in enumerate(found.row(row))}
        cells = merged.filled(row + 1, {column: text for column, text in shown.items() if text})
        if any(cells.values()):
            unseen = row in found.rowinfo_map and bool(found.rowinfo_map[row].hidden)
            hidden += unseen
            yield Row(row + 1, [] if unseen else line_of(cells, hidden_columns))
    if hidden:
        sheet.warnings.append(f"sheet {sheet.name}: hidden rows left out: {hidden}")
    if any(column < found.ncols for column in hidden_columns):
        sheet.warnings.append(f"sheet {sheet.name}: hidden columns were left out")


def _shown(book: Any, cell: Any) -> str:
    if cell.ctype in (_NUMBER, _DATE):
        known = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        code = numbers.BUILT_IN.get(known.format_key) or known.format_str if known is not None else numbers.GENERAL
        return numbers.shown(float(cell.value), code, from_1904=book.datemode == 1)
    if cell.ctype == _BOOLEAN:
        return "TRUE" if cell.value else "FALSE"
    return str(cell.value) if cell.ctype == _TEXT else ""
