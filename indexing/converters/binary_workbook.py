"""Binary workbooks of Excel (xlsb), by python-calamine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexing.converters import numbers
from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import Content, ConversionError
from indexing.converters.sheets import Row, Sheet, contents


def convert(path: Path) -> Iterator[Content]:
    """Yield one document per visible sheet, or several for a long one."""
    import python_calamine as calamine

    require_harmless_zip(path, "xlsb")
    try:
        with calamine.CalamineWorkbook.from_path(str(path)) as book:
            yield from contents(_sheets(book), title="", meta={})
    except calamine.PasswordError as error:
        raise ConversionError("it is encrypted; save a copy without a password") from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise ConversionError(f"it cannot be read as an Excel workbook: {error}") from error


def _sheets(book: Any) -> Iterator[Sheet]:
    import python_calamine as calamine

    for found in book.sheets_metadata:
        sheet = Sheet(found.name, ())
        if found.visible != calamine.SheetVisibleEnum.Visible:
            sheet.warnings.append(f"sheet {found.name} is hidden and was left out")
        elif found.typ != calamine.SheetTypeEnum.WorkSheet:
            sheet.warnings.append(f"sheet {found.name} is no table and was left out")
        else:
            sheet.rows = _rows(book.get_sheet_by_name(found.name))
        yield sheet


def _rows(sheet: Any) -> Iterator[Row]:
    for number, values in enumerate(sheet.iter_rows(), start=1):
        cells = list(map(shown, values))
        if any(cells):
            yield Row(number, list(cells))


def shown(value: object) -> str:
    """A value as text. The formats of numbers are not known: a date is ISO text, a share is its number."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return numbers.general(float(value))
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "minutes" if not value.second else "seconds")
    return str(value)
