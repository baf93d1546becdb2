"""How a file of delimited values is written: its delimiter and quotes, its captions and header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from indexing.converters.tables import is_value

_DELIMITERS = "\t;|,"
"""The less often one occurs inside of text, the earlier it comes."""
_NONE = "\x1f"
"""The delimiter of a file of one column."""
_SEP = re.compile(r"\"?sep=(.|\\t)\"?\s*", re.IGNORECASE)
_ESCAPED = re.compile(r"\\\"(?![\t;|,\r\n])")
_DOUBLED = re.compile(r"[^\t;|,\r\n]\"\"[^\t;|,\r\n]")
_ROWS = 200
_MOST_CAPTIONS = 20
_WIDE = 0.6
"""Share of the columns that a header names."""

Row = list[str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`escape` is what stands before a quote inside of quotes, "" if it is doubled."""

    delimiter: str
    quote: str = '"'
    escape: str = ""

    def rows(self, lines: Iterable[str], *, quoted: bool = True) -> Iterator[Row]:
        """The rows of lines; with `quoted=False`, quotes are characters like all others."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape or None,
            doublequote=not self.escape,
            skipinitialspace=self.delimiter != "\t",
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The first `rows` rows are no records: `captions`, and the `header` if there is one."""

    rows: int
    captions: tuple[str, ...]
    header: tuple[str, ...]


def stated_delimiter(line: str) -> str:
    """The delimiter of a first line `sep=;`, "" if it is none."""
    match = _SEP.fullmatch(line)
    return "" if match is None else match[1].replace("\\t", "\t")


def dialect_of(lines: Sequence[str], *, delimiter: str = "", preferred: str = "") -> Dialect:
    """The dialect in which the first lines of a file make the most regular rows."""
    text = "".join(lines)
    escape = "\\" if _ESCAPED.search(text) and not _DOUBLED.search(text) else ""
    quote = "'" if _quotes(text, "'") > 2 * _quotes(text, '"') else '"'
    found = [Dialect(mark, quote, escape) for mark in delimiter or _DELIMITERS]
    scores = [
        _score(_sampled(item, lines), item.delimiter) * _fit_of_quotes(text, item) * (1 + (item.delimiter == preferred))
        for item in found
    ]
    best = max(scores)
    return found[scores.index(best)] if best > 0 or delimiter else Dialect(_NONE, quote, escape)


def head_of(dialect: Dialect, lines: Sequence[str]) -> Head:
    """What comes before the records, by the first lines of a file."""
    rows = _sampled(dialect, lines)
    width = _width(rows)
    for number, row in enumerate(rows[: _MOST_CAPTIONS + 1]):
        if _filled(row) >= max(min(width, 2), ceil(_WIDE * width)):
            captions = [" ".join(filter(None, map(str.strip, above))) for above in rows[:number]]
            below = [line for line in rows[number + 1 :] if _filled(line)]
            named = bool(below) and _is_header(row, below)
            header = tuple(row) if named else ()
            return Head(number + named, tuple(filter(None, captions)), header)
    return Head(0, (), ())


def _sampled(dialect: Dialect, lines: Sequence[str]) -> list[Row]:
    try:
        return [row for row, _ in zip(dialect.rows(lines), range(_ROWS), strict=False)]
    except csv.Error:
        return []


def _quotes(text: str, quote: str) -> int:
    """Fields that begin and end with a quote."""
    return len(re.findall(rf"(?:^|[\t;|,]) ?{quote}[^{quote}\n]*{quote}(?=[\t;|,\r\n]|$)", text, re.MULTILINE))


def _fit_of_quotes(text: str, dialect: Dialect) -> float:
    """More if quotes begin and end between two delimiters."""
    quote, delimiter = dialect.quote, re.escape(dialect.delimiter)
    text = text.replace(2 * quote, "")
    quotes = text.count(quote)
    cells = re.findall(rf"(?:^|{delimiter}) *{quote}[^{quote}]*{quote} *(?={delimiter}|\r?$)", text, re.MULTILINE)
    return 1 if not quotes else 0.2 + 0.8 * 2 * len(cells) / quotes


def _score(rows: Sequence[Row], delimiter: str) -> float:
    """How regular rows are: the share of the most common width, more for more columns and for simple cells."""
    widths = [len(row) for row in rows if _filled(row)]
    width = _width(rows)
    if width < 2 or widths.count(1) > len(widths) / 2:
        return 0
    others = set(_DELIMITERS[:3]) - {delimiter}
    cells = [cell for row in rows for cell in row if cell]
    simple = sum(others.isdisjoint(cell) for cell in cells) / len(cells)
    return widths.count(width) / len(widths) * (1 - 1 / width) * (1 + simple)


def _width(rows: Sequence[Row]) -> int:
    """The most common number of cells, the larger one of two."""
    counts = Counter(len(row) for row in rows if _filled(row))
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _filled(row: Row) -> int:
    return sum(map(bool, map(str.strip, row)))


def _is_header(row: Row, below: Sequence[Row]) -> bool:
    """Whether a row has names where the rows below have values, or is unlike them if all are words."""
    names = values = again = 0
    for column, cell in enumerate(map(str.strip, row)):
        cells = [line[column].strip() for line in below if column < len(line) and line[column].strip()]
        if cell and 2 * sum(map(is_value, cells)) > len(cells):
            values += is_value(cell)
            names += not is_value(cell)
        again += bool(cell) and cell in cells
    if names or values:
        return names > values
    return not again and not any(map(is_value, map(str.strip, row)))
