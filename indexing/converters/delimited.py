"""CSV and its kin: each row is a document, read one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TextIO

from indexing.converters.content import Content, ConversionError
from indexing.converters.decoding import encoding_of
from indexing.converters.dialects import Row, dialect_of, head_of, stated_delimiter
from indexing.converters.records import Fields, chosen, column_names, row_content

_MAX_CELL = 1 << 28
_SAMPLE = 1 << 17
"""Characters by which the dialect is found."""


def convert(path: Path, *, fields: Sequence[tuple[str, str]] = (), charset: str = "") -> Iterator[Content]:
    """Yield one document per row, with a line `column: value` per cell. `fields` are names of fields by their role."""
    csv.field_size_limit(_MAX_CELL)
    encoding = encoding_of(path, declared=[charset])
    with path.open(encoding=encoding.name, errors="replace", newline="") as file:
        table = _Table(file, "\t" if path.suffix.lower() in (".tsv", ".tab") else "", chosen(fields))
        warnings = list(encoding.warnings)
        last: Content | None = None
        for content in table.contents():
            if last is not None:
                yield last
            last = replace(content, warnings=tuple(warnings)) if warnings else content
            warnings = []
        warnings += table.warnings()
        if last is not None:
            yield replace(last, warnings=(*last.warnings, *warnings))
        elif warnings or table.head.captions:
            yield Content("\n".join(table.head.captions), warnings=tuple(warnings))


class _Table:
    """The rows of a file."""

    def __init__(self, file: TextIO, preferred: str, fields: Fields) -> None:
        lines = (line.replace("\0", "\ufffd") for line in file)
        first = next(lines, "")
        delimiter = stated_delimiter(first)
        sample = [] if delimiter else [first]
        size = 0
        while size < _SAMPLE and (line := next(lines, "")):
            sample.append(line)
            size += len(line)
        self._dialect = dialect_of(sample, delimiter=delimiter, preferred=preferred)
        self.head = head_of(self._dialect, sample)
        self._names = column_names(self.head.header)
        self._lines = chain(sample, lines)
        self._line = int(bool(delimiter))
        self._row: list[str] = []
        self._ended = False
        self._longer = self._endless = 0
        self._fields = fields

    def contents(self) -> Iterator[Content]:
        """Each row with something in it as a document."""
        try:
            for number, row in enumerate(self._rows(), start=1):
                if number > self.head.rows and any(map(str.strip, row)):
                    yield self._content(row, number)
        except csv.Error as error:
            raise ConversionError(f"line {self._line} is not CSV: {error}") from error

    def warnings(self) -> Iterator[str]:
        """What was odd about the rows, after the last one."""
        if self._endless:
            yield f"a quote in line {self._endless} has no end: the lines from there on are read without quotes"
        if self._longer:
            rows = "1 row has" if self._longer == 1 else f"{self._longer:,} rows have"
            yield f"{rows} more cells than the header"

    def _rows(self) -> Iterator[Row]:
        """All rows. If the file ends inside of quotes, the lines of the last one are read without quotes."""
        for row in self._dialect.rows(self._read()):
            if self._ended:
                self._endless = self._line - len(self._row) + 1
                yield from self._dialect.rows(self._row, quoted=False)
            else:
                yield row
            self._row.clear()

    def _read(self) -> Iterator[str]:
        for line in self._lines:
            self._line += 1
            self._row.append(line)
            yield line
        self._ended = True

    def _content(self, row: Row, number: int) -> Content:
        extra = row[len(self._names) :]
        self._longer += bool(self._names) and any(map(str.strip, extra))
        names = self._names
        if extra:
            names += tuple(f"column {place}" for place in range(len(names) + 1, len(row) + 1))
        return row_content(
            zip(names, row, strict=False), number=number, captions=self.head.captions, fields=self._fields
        )
