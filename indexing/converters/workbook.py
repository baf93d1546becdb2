"""Excel workbooks (xlsx, xlsm), streamed from their XML.

No library gives the formats of numbers, merged cells and hidden rows without holding the whole sheet in memory.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from indexing.converters import markup, numbers
from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import Content, ConversionError
from indexing.converters.sheets import Line, Row, Sheet, comment, contents

_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?\bref=[\"']([A-Z]+)(\d+):([A-Z]+)(\d+)[\"']")
_BLOCK = 1 << 20
_MAX_COLUMNS = 16_384
_LETTERS = re.compile(r"[A-Z]+")


def convert_xlsx(path: Path) -> Iterator[Content]:
    """Yield one document per visible sheet, or several for a long one."""
    require_harmless_zip(path, "xlsx")
    try:
        with zipfile.ZipFile(path) as archive:
            book = _Book(archive)
            meta = _properties(archive)
            yield from contents(book.sheets(), title=str(meta.get("title", "")), meta=meta)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ConversionError(f"it cannot be read as an Excel workbook: {error}") from error


class _Book:
    """The parts of a workbook that its sheets need."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._name = next(
            (target for kind, target in _relations(archive, "").values() if kind == "officeDocument"), "xl/workbook.xml"
        )
        root = markup.part(archive, self._name)
        if root is None:
            raise ConversionError("it cannot be read as an Excel workbook: it has no list of sheets")
        self._root = root
        self._relations = _relations(archive, self._name)
        properties = markup.child(root, "workbookPr")
        self._from_1904 = properties is not None and properties.get("date1904") in ("1", "true", "on")
        self._strings = self._shared_strings()
        self._codes = self._number_formats()

    def sheets(self) -> Iterator[Sheet]:
        """Those that are visible; a sheet without rows but with a warning stands for one that is not read."""
        for element in markup.child(self._root, "sheets"):
            kind, target = self._relations.get(markup.value_of(element, "id"), ("", ""))
            sheet = Sheet(str(element.get("name") or ""), ())
            if element.get("state", "visible") != "visible":
                sheet.warnings.append(f"sheet {sheet.name} is hidden and was left out")
            elif kind == "worksheet" and target in self._archive.namelist():
                sheet.rows = self._rows(target, sheet)
            elif kind != "worksheet":
                sheet.warnings.append(f"sheet {sheet.name} is no table and was left out")
            yield sheet

    def _part(self, kind: str) -> str:
        return next((target for found, target in self._relations.values() if found == kind), "")

    def _shared_strings(self) -> list[str]:
        name = self._part("sharedStrings")
        if name not in self._archive.namelist():
            return []
        with self._archive.open(name) as file:
            return [_string(element) for _, element in markup.elements(file, ["{*}si"])]

    def _number_formats(self) -> list[str]:
        """The format of each style."""
        root = markup.part(self._archive, self._part("styles"))
        if root is None:
            return []
        codes = dict(numbers.BUILT_IN)
        for element in root.iter("{*}numFmt"):
            codes[_integer(element.get("numFmtId"))] = str(element.get("formatCode") or numbers.GENERAL)
        styles = markup.child(root, "cellXfs")
        return (
            [codes.get(_integer(style.get("numFmtId")), numbers.GENERAL) for style in styles]
            if styles is not None
            else []
        )

    def _rows(self, name: str, sheet: Sheet) -> Iterator[Row]:
        merged = Merged(_merged_ranges(self._archive, name))
        hidden_columns: set[int] = set()
        number = hidden = unknown = 0
        with self._archive.open(name) as file:
            for _, element in markup.elements(file, ["{*}row", "{*}col"]):
                if markup.name_of(element) == "col":
                    if element.get("hidden") in ("1", "true"):
                        first, last = _integer(element.get("min")), _integer(element.get("max"))
                        hidden_columns |= set(range(first - 1, min(last, _MAX_COLUMNS)))
                    continue
                number = _integer(element.get("r")) or number + 1
                cells, missing = self._cells(element)
                unknown += missing
                cells = merged.filled(number, cells)
                if not any(cells.values()):
                    continue
                unseen = element.get("hidden") in ("1", "true")
                hidden += unseen
                yield Row(number, [] if unseen else line_of(cells, hidden_columns))
        sheet.comments += self._comments(name)
        if hidden:
            sheet.warnings.append(f"sheet {sheet.name}: hidden rows left out: {hidden}")
        if hidden_columns:
            sheet.warnings.append(f"sheet {sheet.name}: hidden columns were left out")
        if unknown:
            sheet.warnings.append(
                f"sheet {sheet.name}: formulas without a stored value: {unknown}; open and save it in Excel"
            )

    def _comments(self, name: str) -> Iterator[str]:
        for kind, target in _relations(self._archive, name).values():
            root = markup.part(self._archive, target) if kind == "comments" else None
            authors = [(item.text or "").strip() for item in root.iter("{*}author")] if root is not None else []
            for item in root.iter("{*}comment") if root is not None else ():
                author = _integer(item.get("authorId"))
                text = " ".join(_string(item).split())
                named = authors[author] if 0 <= author < len(authors) else ""
                if text:
                    yield comment(str(item.get("ref")), named, text.removeprefix(f"{named}: "))

    def _cells(self, row: Any) -> tuple[dict[int, str | None], int]:
        """The filled cells by column from 0, and how many formulas have no stored value."""
        cells: dict[int, str | None] = {}
        column = -1
        missing = 0
        for cell in row:
            reference = cell.get("r")
            column = _column(reference) if reference else column + 1
            value = formula = None
            for inner in cell:
                name = markup.name_of(inner)
                if name == "v":
                    value = inner.text or ""
                elif name == "is":
                    value = _string(inner)
                elif name == "f":
                    formula = inner
            if value is None:
                missing += formula is not None
            elif value and 0 <= column < _MAX_COLUMNS:
                cells[column] = self._shown(value, cell.get("t", "n"), _integer(cell.get("s")))
        return cells, missing

    def _shown(self, value: str, kind: str, style: int) -> str:
        if kind == "s":
            index = _integer(value)
            return self._strings[index] if 0 <= index < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if value in ("1", "true") else "FALSE"
        if kind == "d":
            return value.removesuffix("T00:00:00").replace("T", " ")
        if kind != "n":
            return value
        try:
            code = self._codes[style] if 0 <= style < len(self._codes) else numbers.GENERAL
            return numbers.shown(float(value), code, from_1904=self._from_1904)
        except (ValueError, OverflowError):
            return value


class Merged:
    """Merged cells of a sheet: an upper row's cell is repeated in each row, and covers those on its right."""

    def __init__(self, ranges: Sequence[tuple[int, int, int, int]]) -> None:
        self._waiting = sorted(ranges, reverse=True)
        self._open: list[tuple[int, int, int, str | None]] = []

    def filled(self, number: int, cells: dict[int, str | None]) -> dict[int, str | None]:
        """The row's cells with those that a merged one covers. Rows come in order."""
        self._open = [item for item in self._open if item[0] >= number]
        for _, left, right, text in self._open:
            _cover(cells, left, right, text)
        while self._waiting and self._waiting[-1][0] <= number:
            top, left, bottom, right = self._waiting.pop()
            if top == number:
                text = cells.get(left)
                _cover(cells, left, right, text)
                if bottom > top and text:
                    self._open.append((bottom, left, right, text))
        return cells


def _cover(cells: dict[int, str | None], left: int, right: int, text: str | None) -> None:
    if text:
        cells[left] = text
        cells.update(dict.fromkeys(range(left + 1, right + 1)))


def _merged_ranges(archive: zipfile.ZipFile, name: str) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right). They come after the rows in the file, and are needed before."""
    found: list[tuple[int, int, int, int]] = []
    rest = b""
    with archive.open(name) as file:
        while block := file.read(_BLOCK):
            data = rest + block
            for match in _MERGED.finditer(data):
                left, right = _column(match[1].decode()), _column(match[3].decode())
                found.append((int(match[2]), left, int(match[4]), min(right, _MAX_COLUMNS - 1)))
            rest = data[data.rfind(b"<") :] if b"<" in data[-200:] else b""
    return found


def line_of(cells: Mapping[int, str | None], hidden: set[int]) -> Line:
    """Cells by column as a line, without hidden columns."""
    return [cells.get(column, "") for column in range(max(cells) + 1) if column not in hidden]


def _string(element: Any) -> str:
    """The text of a string without its phonetic hints."""
    if len(element) == 1 and markup.name_of(element[0]) == "t":
        return element[0].text or ""
    return "".join(
        part.text or ""
        for part in element.iter("{*}t")
        if not any(markup.name_of(parent) == "rPh" for parent in part.iterancestors())
    )


def _column(reference: str) -> int:
    """From 0: `AB12` is 27."""
    match = _LETTERS.match(reference)
    number = 0
    for letter in match[0][:4] if match else "":
        number = number * 26 + ord(letter) - 64
    return number - 1


def _integer(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _relations(archive: zipfile.ZipFile, name: str) -> dict[str, tuple[str, str]]:
    """(kind, name of the part) of all that a part refers to, by id."""
    path = PurePosixPath(name)
    root = markup.part(archive, str(path.parent / "_rels" / f"{path.name}.rels") if name else "_rels/.rels")
    found: dict[str, tuple[str, str]] = {}
    for element in root if root is not None else ():
        target = str(element.get("Target") or "")
        kind = str(element.get("Type") or "").rpartition("/")[2]
        found[str(element.get("Id"))] = (
            kind,
            target.lstrip("/") if target.startswith("/") else _joined(path.parent, target),
        )
    return found


def _joined(folder: PurePosixPath, target: str) -> str:
    parts: list[str] = []
    for part in (folder / target).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _properties(archive: zipfile.ZipFile) -> dict[str, object]:
    root = markup.part(archive, "docProps/core.xml")
    found = {markup.name_of(element): (element.text or "").strip() for element in root} if root is not None else {}
    names = {
        "title": "title",
        "creator": "author",
        "subject": "subject",
        "keywords": "keywords",
        "language": "language",
    }
    meta: dict[str, object] = {to: found[name] for name, to in names.items() if found.get(name)}
    date = found.get("created") or found.get("modified")
    return {**meta, "date": date} if date else meta
