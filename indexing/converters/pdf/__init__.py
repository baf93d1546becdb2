"""PDF by PDFium: pages in reading order, each with a map from the document's characters to the page's own."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2

from indexing.converters import ocr
from indexing.converters.content import Content, ConversionError, pdf_date, plain_meta
from indexing.converters.pdf import fields, glyphs, layout, rules, scans
from indexing.converters.pdf.document import body, listed
from indexing.converters.pdf.margins import Sheet
from indexing.converters.pdf.scans import Scan
from search_app.errors import install_command
from search_app.types import Heading, Page


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    _require_pdf(path)
    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise ConversionError(_why(path)) from error
    with pdf:
        if len(pdf) == 0:
            raise ConversionError("it has no pages")
        pdf.init_forms()
        yield _content(pdf)


def _require_pdf(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(1024)
    if b"%PDF-" not in head:
        raise ConversionError("it is a ZIP archive, not a PDF" if head.startswith(b"PK") else "it is not a PDF")


def _why(path: Path) -> str:
    """Why PDFium rejected the file; its own error code may be that of an earlier file."""
    data = path.read_bytes()
    if b"/Encrypt" in data:
        return "it is encrypted; save a copy without a password"
    if re.search(rb"/Count\s+0\b", data) and not re.search(rb"/Type\s*/Page\b", data):
        return "it has no pages"
    return "it is damaged: PDFium cannot read it"


def _content(pdf: pypdfium2.PdfDocument) -> Content:
    found = _Pages()
    for number in range(1, len(pdf) + 1):
        try:
            found.read(pdf, number)
        except pypdfium2.PdfiumError:
            found.broken.append(number)
    if len(found.broken) == len(pdf):
        raise ConversionError("none of its pages can be read")
    read = body(found.sheets, found.scans, len(pdf))
    meta = _meta(pdf) | read.meta
    headings = tuple(_outline(pdf, read.text, read.pages))
    warnings = (*found.warnings(len(pdf)), *read.warnings)
    pages = tuple(ocr.counted(page) if page.number in found.postponed else page for page in read.pages)
    title, unread = str(meta.get("title", "")), found.count_unread()
    return Content(read.text, title, plain_meta(meta), headings, pages, warnings, read.tables, unread=unread)


@dataclass
class _Pages:
    """What became of each page: read as text, by OCR, or the numbers of those that were not read."""

    sheets: list[Sheet] = field(default_factory=list)
    scans: list[Scan] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    postponed: list[int] = field(default_factory=list)
    large: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def read(self, pdf: pypdfium2.PdfDocument, number: int) -> None:
        page = pdf[number - 1]
        try:
            characters = glyphs.read(page, number)
            pieces = fields.placed(glyphs.pieces(characters), fields.pieces(page, characters))
            if pieces or not scans.is_scan(page):
                blocks = list(layout.blocks(characters, pieces, rules.read(page))) if pieces else []
                self.sheets.append(Sheet(number, characters.height, blocks))
            elif ocr.is_postponed():
                self.postponed.append(number)
            elif not ocr.is_installed():
                self.unread.append(number)
            else:
                self._scan(page, number)
        finally:
            page.close()

    def _scan(self, page: pypdfium2.PdfPage, number: int) -> None:
        try:
            self.scans.append(scans.read(page, number))
        except scans.TooLarge:
            self.large.append(number)

    def count_unread(self) -> int:
        """Pages that OCR, or a later version of it, may read."""
        return len(self.unread) + len(self._empty())

    def _empty(self) -> list[int]:
        return [scan.sheet.number for scan in self.scans if not scan.sheet.blocks]

    def warnings(self, count: int) -> Iterator[str]:
        empty = self._empty()
        if self.unread:
            command = install_command("ocr")
            yield f"no text on {listed(self.unread)} of {count}: scanned; install search-app[ocr] to read it: {command}"
        if self.large:
            most = f"{ocr.MAX_PIXELS // 10**6} megapixels"
            yield f"no text on {listed(self.large)} of {count}: scanned, with more than {most}"
        if empty:
            yield f"no text on {listed(empty)} of {count}: OCR found none"
        if len(self.sheets) == count and not any(sheet.blocks for sheet in self.sheets):
            yield f"no text on {listed(range(1, count + 1))} of {count}: nothing is drawn there"
        if self.broken:
            yield f"{listed(self.broken)} of {count} cannot be read"


def _outline(pdf: pypdfium2.PdfDocument, text: str, pages: Sequence[Page]) -> Iterator[Heading]:
    """Bookmarks with a title that occurs on their page, as only these have a position in the text."""
    position = 0
    try:
        for bookmark in pdf.get_toc(max_depth=6):
            destination = bookmark.get_dest()
            index = destination.get_index() if destination is not None else None
            title = " ".join(bookmark.get_title().split())
            if index is None or not 0 <= index < len(pages) or not title:
                continue
            page = pages[index]
            start = text.find(title, max(position, page.start), page.end)
            if start >= 0:
                yield Heading(bookmark.level + 1, title, start, start + len(title))
                position = start + len(title)
    except (pypdfium2.PdfiumError, ctypes.ArgumentError, ValueError):
        return  # a damaged outline costs the headings, not the text


def _meta(pdf: pypdfium2.PdfDocument) -> dict[str, object]:
    raw = pdf.get_metadata_dict(skip_empty=True)
    date = pdf_date(raw.get("CreationDate", "")) or pdf_date(raw.get("ModDate", ""))
    found = {
        "title": raw.get("Title", "").strip("\0 "),
        "author": raw.get("Author", "").strip("\0 "),
        "subject": raw.get("Subject", "").strip("\0 "),
        "keywords": raw.get("Keywords", "").strip("\0 "),
        "date": date,
        "pages": len(pdf),
    }
    return {
        key: value
        for key, value in found.items()
        if value and value not in ("(anonymous)", "untitled", "(unspecified)", "unspecified", "anonymous")
    }
