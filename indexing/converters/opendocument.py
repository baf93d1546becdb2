"""OpenDocument spreadsheets, streamed. Cells have their text as it is shown."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from indexing.converters import markup
from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import Content, ConversionError
from indexing.converters.sheets import Line, Row, Sheet, contents

_MAX_COLUMNS = 16_384
_MAX_REPEATED = 10_000
"""Equal rows in a sequence that are read."""


def convert_ods(path: Path) -> Iterator[Content]:
    """Yield one document per visible sheet, or several for a long one."""
    with _opened(path, "ods") as archive:
        meta = _properties(archive)
        with archive.open("content.xml") as file:
            yield from contents(_Tables(file).sheets(), title=str(meta.get("title", "")), meta=meta)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    require_harmless_zip(path, kind)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = markup.part(archive, "META-INF/manifest.xml")
            if manifest is not None and next(manifest.iter("{*}encryption-data"), None) is not None:
                raise ConversionError("it is encrypted; save a copy without a password")
            yield archive
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ConversionError(f"it cannot be read as an OpenDocument file: {error}") from error


def _properties(archive: zipfile.ZipFile) -> dict[str, object]:
    root = markup.part(archive, "meta.xml")
    found = {
        markup.name_of(element): " ".join((element.text or "").split())
        for element in (root.iter("{*}*") if root is not None else ())
    }
    author = found.get("initial-creator") or found.get("creator")
    date = found.get("creation-date") or found.get("date")
    named = {name: found.get(name) for name in ("title", "subject", "language")}
    return {key: value for key, value in {**named, "author": author, "date": date}.items() if value}


class _Tables:
    """The sheets of content.xml, in one pass: the rows of a sheet are to be read before the next sheet."""

    def __init__(self, file: IO[bytes]) -> None:
        tags = [f"{{*}}{name}" for name in ("style", "table", "table-column", "table-row")]
        self._events = markup.elements(file, tags, starts=True)
        self._hidden_styles: set[str] = set()
        self._depth = 0

    def sheets(self) -> Iterator[Sheet]:
        for event, element in self._events:
            name = markup.name_of(element)
            if name == "style" and event == "end" and _hides(element):
                self._hidden_styles.add(markup.value_of(element, "name"))
            elif name == "table" and event == "start":
                sheet = Sheet(markup.value_of(element, "name"), ())
                hidden = markup.value_of(element, "style-name") in self._hidden_styles
                sheet.rows = self._rows(sheet)
                if hidden:
                    for _ in sheet.rows:
                        pass
                    sheet.rows, sheet.warnings = (), [f"sheet {sheet.name} is hidden and was left out"]
                yield sheet

    def _rows(self, sheet: Sheet) -> Iterator[Row]:
        spans = _Spans()
        hidden_columns: set[int] = set()
        number = column = hidden = 0
        tables = 1
        for event, element in self._events:
            name = markup.name_of(element)
            if name == "table":
                tables += 1 if event == "start" else -1
                if not tables:
                    break
            elif event == "start" or tables > 1:
                continue
            elif name == "table-column":
                repeated = _repeated(element, "columns")
                if markup.value_of(element, "visibility") in ("collapse", "filter"):
                    hidden_columns |= set(range(column, min(column + repeated, _MAX_COLUMNS)))
                column += repeated
            elif name == "table-row":
                cells = spans.filled(element)
                repeated = _repeated(element, "rows")
                if any(cells.values()):
                    unseen = markup.value_of(element, "visibility") in ("collapse", "filter")
                    hidden += unseen * repeated
                    line = [] if unseen else _line(cells, hidden_columns)
                    yield from (Row(number + count, line) for count in range(1, min(repeated, _MAX_REPEATED) + 1))
                    if repeated > _MAX_REPEATED and not unseen:
                        sheet.warnings.append(f"sheet {sheet.name}: only {_MAX_REPEATED} of {repeated} equal rows read")
                number += repeated
        if hidden:
            sheet.warnings.append(f"sheet {sheet.name}: hidden rows left out: {hidden}")
        if hidden_columns:
            sheet.warnings.append(f"sheet {sheet.name}: hidden columns were left out")


class _Spans:
    """Cells over several rows or columns: repeated in each row, and covering those on their right."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, int, str]] = {}

    def filled(self, row: Any) -> dict[int, str | None]:
        """The row's filled cells by column from 0; None for one that the cell on its left covers."""
        cells: dict[int, str | None] = {}
        opened = {}
        column = 0
        for cell in row:
            repeated = _repeated(cell, "columns")
            if markup.name_of(cell) == "table-cell" and (text := _cell_text(cell)):
                width = _number(markup.value_of(cell, "number-columns-spanned"))
                height = _number(markup.value_of(cell, "number-rows-spanned"))
                for place in range(column, min(column + repeated, _MAX_COLUMNS)):
                    _cover(cells, place, width, text)
                if height > 1:
                    opened[column] = (height - 1, width, text)
            column += repeated
        for place, (left, width, text) in list(self._open.items()):
            _cover(cells, place, width, text)
            if left > 1:
                opened[place] = (left - 1, width, text)
        self._open = opened
        return cells


def _cover(cells: dict[int, str | None], column: int, width: int, text: str) -> None:
    cells[column] = text
    cells.update(dict.fromkeys(range(column + 1, min(column + width, _MAX_COLUMNS))))


def _line(cells: dict[int, str | None], hidden: set[int]) -> Line:
    return [cells.get(column, "") for column in range(max(cells) + 1) if column not in hidden]


def _hides(style: Any) -> bool:
    return any(markup.value_of(inner, "display") == "false" for inner in style)


def _repeated(element: Any, what: str) -> int:
    return _number(markup.value_of(element, f"number-{what}-repeated"))


def _number(text: str) -> int:
    """At least 1."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _cell_text(cell: Any) -> str:
    return "\n".join(text_of(inner) for inner in cell if markup.name_of(inner) == "p")


def text_of(paragraph: Any, note: Callable[[Any], str] = lambda _: "") -> str:
    """The text of a paragraph with its spaces, tabs and line breaks; `note` gives what stands for a note."""
    parts: list[str] = [paragraph.text or ""]
    for element in paragraph:
        name = markup.name_of(element)
        if name == "s":
            parts.append(" " * min(_number(markup.value_of(element, "c")), 100))
        elif name == "tab":
            parts.append("\t")
        elif name == "line-break":
            parts.append("\n")
        elif name in ("note", "annotation"):
            parts.append(note(element))
        else:
            parts.append(text_of(element, note))
        parts.append(element.tail or "")
    return "".join(parts)
