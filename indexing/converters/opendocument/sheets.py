"""OpenDocument spreadsheets, streamed. Cells have their text as it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from indexing.converters import markup
from indexing.converters.content import Content
from indexing.converters.opendocument.package import opened, properties
from indexing.converters.opendocument.rows import MAX_COLUMNS, Spans, repeated
from indexing.converters.opendocument.text import text_of
from indexing.converters.sheets import Line, Row, Sheet, comment, contents

_MAX_REPEATED = 10_000
"""Equal rows in a sequence that are read."""


def convert(path: Path) -> Iterator[Content]:
    """Yield one document per visible sheet, or several for a long one."""
    with opened(path, "ods") as archive:
        meta = properties(archive)
        with archive.open("content.xml") as file:
            yield from contents(_Tables(file).sheets(), title=str(meta.get("title", "")), meta=meta)


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
        spans = Spans(_cell_text)
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
                times = repeated(element, "columns")
                if markup.value_of(element, "visibility") in ("collapse", "filter"):
                    hidden_columns |= set(range(column, min(column + times, MAX_COLUMNS)))
                column += times
            elif name == "table-row":
                cells = spans.filled(element)
                sheet.comments += _comments(element, number + 1)
                times = repeated(element, "rows")
                if any(cells.values()):
                    unseen = markup.value_of(element, "visibility") in ("collapse", "filter")
                    hidden += unseen * times
                    line = [] if unseen else _line(cells, hidden_columns)
                    yield from (Row(number + count, line) for count in range(1, min(times, _MAX_REPEATED) + 1))
                    if times > _MAX_REPEATED and not unseen:
                        sheet.warnings.append(f"sheet {sheet.name}: only {_MAX_REPEATED} of {times} equal rows read")
                number += times
        if hidden:
            sheet.warnings.append(f"sheet {sheet.name}: hidden rows left out: {hidden}")
        if hidden_columns:
            sheet.warnings.append(f"sheet {sheet.name}: hidden columns were left out")


def _line(cells: dict[int, str | None], hidden: set[int]) -> Line:
    return [cells.get(column, "") for column in range(max(cells) + 1) if column not in hidden]


def _hides(style: Any) -> bool:
    return any(markup.value_of(inner, "display") == "false" for inner in style)


def _comments(row: Any, number: int) -> Iterator[str]:
    for note in row.iter("{*}annotation"):
        author = markup.child(note, "creator")
        text = " ".join(" ".join(text_of(inner) for inner in note.iter("{*}p")).split())
        if text:
            yield comment(f"row {number}", (author.text or "").strip() if author is not None else "", text)


def _cell_text(cell: Any) -> str:
    return "\n".join(text_of(inner) for inner in cell if markup.name_of(inner) == "p")
