"""What a converter returns: text with headings and pages, and metadata of plain types."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from indexing.converters import tables
from indexing.converters.characters import clean
from search_app.text import outline
from search_app.text.reading import SEPARATOR
from search_app.types import Cell, Heading, MetaValue, Page, Table

_MAX_NAME = 64
_MAX_VALUE = 4096
_PDF_DATE = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(?:(\d{2})(\d{2})(\d{2})?)?(Z|[+-]\d{2})?'?(\d{2})?")


class ConversionError(Exception):
    """A file cannot be converted; the message tells its owner why."""


@dataclass(frozen=True, slots=True)
class Content:
    """A document before it has an id. `title` is empty if the file has none.

    `part` names the part of the file that it is, such as a sheet; it follows the file's title. `unread` are pages that
    OCR did not read, as it is not installed or found nothing.
    """

    text: str
    title: str = ""
    meta: Mapping[str, MetaValue] = field(default_factory=dict)
    headings: tuple[Heading, ...] = ()
    pages: tuple[Page, ...] = ()
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    part: str = ""
    unread: int = 0

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        values["headings"], values["pages"], values["tables"] = outline.to_lists(self)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Content:
        headings, pages, tables = outline.from_lists(values["headings"], values["pages"], values["tables"])
        return cls(
            text=values["text"],
            title=values["title"],
            meta=values["meta"],
            headings=headings,
            pages=pages,
            warnings=tuple(values["warnings"]),
            tables=tables,
            part=values.get("part", ""),
            unread=values.get("unread", 0),
        )


def warned(contents: Iterable[Content], warnings: Sequence[str]) -> Iterator[Content]:
    """Yield the contents; the last carries the `warnings` that there are by then, too."""
    last: Content | None = None
    for content in contents:
        if last is not None:
            yield last
        last = content
    if last is not None or warnings:
        last = last or Content("")
        yield replace(last, warnings=(*last.warnings, *warnings))


class TextBuilder:
    """Builds a document's text from blocks, with a blank line between two, and records headings and pages."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._page_start = 0
        self._group = ""
        self.headings: list[Heading] = []
        self.pages: list[Page] = []
        self.tables: list[Table] = []

    def block(self, text: str, *, group: str = "") -> int:
        """Append a block and return its start. Blocks of one group, such as rows, have no blank line in between."""
        text = clean(text).strip("\n").rstrip()
        if not text.strip():
            return self._length
        if self._length > self._page_start:
            self._append("\n" if group and group == self._group else "\n\n")
        self._group = group
        start = self._length
        self._append(text)
        return start

    @property
    def length(self) -> int:
        """Of the text so far, in characters."""
        return self._length

    def heading(self, level: int, title: str) -> None:
        title = " ".join(clean(title).split())
        if title:
            start = self.block(title)
            self.headings.append(Heading(level, title, start, self._length))

    def table(self, rows: Sequence[Sequence[str | None]], *, header: int | None = None) -> None:
        """Append a table, one line per row.

        None stands for a cell that the one on its left covers; a cell that covers several rows is repeated in each.
        The first `header` rows name the columns; by default, `tables.header_rows` finds them. Titles of the whole
        table, rows of one cell above the others, become paragraphs.
        """
        header = None if header is None else sum(any(map(str.strip, filter(None, row))) for row in rows[:header])
        lines = tables.tidy(rows)
        while len(lines) > 1 and tables.is_title(lines[0]) and not tables.is_title(lines[-1]):
            self.block(str(lines.pop(0)[0]))
            header = None if header is None else max(0, header - 1)
        if not lines:
            return
        header = tables.header_rows(lines) if header is None else min(header, len(lines))
        group = f"table {len(self.tables)}"
        found: list[tuple[Cell, ...]] = []
        for line in lines:
            shown = tables.shown(line)
            place = self.block(SEPARATOR.join(cell for _, cell in shown), group=group)
            cells = []
            for column, cell in shown:
                cells.append(Cell(place, place + len(cell), column))
                place += len(cell) + len(SEPARATOR)
            found.append(tuple(cells))
        columns = tables.column_names(lines[:header])
        self.tables.append(Table(found[0][0].start, self._length, columns, header, tuple(found)))

    def end_page(self, number: int) -> None:
        """Make everything since the end of the last page page `number`."""
        if self._length > self._page_start:
            self._append("\n\n")
        self.pages.append(Page(number, self._page_start, self._length))
        self._page_start = self._length

    def text(self) -> str:
        return "".join(self._parts)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def only_title(headings: Sequence[Heading]) -> str:
    """The title of a document by its headings: the only one of the highest level. Of several, none is the title."""
    top = min((heading.level for heading in headings), default=0)
    titles = [heading.title for heading in headings if heading.level == top]
    return titles[0] if len(titles) == 1 else ""


def plain_meta(values: Mapping[Any, Any]) -> dict[str, MetaValue]:
    """Metadata of plain types: nested objects become `outer.inner`, dates ISO text. Empty values are left out."""
    return dict(_flat_meta(values, "", 0))


def _flat_meta(values: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, MetaValue]]:
    for key, value in values.items():
        name = re.sub(r"\s+", "_", clean(str(key)).strip())
        name = f"{prefix}{name}"
        if not name or len(name) > _MAX_NAME:
            continue
        if isinstance(value, Mapping):
            if depth < 2:
                yield from _flat_meta(value, f"{name}.", depth + 1)
        elif isinstance(value, list | tuple):
            items = [str(plain) for item in value if (plain := _plain(item)) is not None]
            if items:
                yield name, items
        elif (plain := _plain(value)) is not None:
            yield name, plain


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)[:_MAX_VALUE]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return iso_time(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return clean(value).strip()[:_MAX_VALUE] or None
    return None


def iso_time(moment: dt.datetime) -> str:
    """Format as `2026-01-31T12:00:00Z`, so that text order is time order. A naive time is taken as UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC)
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def pdf_date(text: str) -> str:
    """Convert `D:20260131120000+01'00'` to ISO form, or just its date if it has no time. "" if it is not a date."""
    match = _PDF_DATE.match(text.strip())
    if match is None:
        return ""
    year, month, day, hour, minute, second, zone, zone_minutes = match.groups()
    try:
        date = dt.date(int(year), int(month or 1), int(day or 1))
        if hour is None:
            return date.isoformat()
        hours, minutes = (int(zone), int(zone_minutes or 0)) if zone and zone != "Z" else (0, 0)
        shift = dt.timezone(dt.timedelta(hours=hours, minutes=minutes))
        return iso_time(dt.datetime.combine(date, dt.time(int(hour), int(minute), int(second or 0), tzinfo=shift)))
    except (ValueError, OverflowError):
        return ""
