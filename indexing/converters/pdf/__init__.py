"""PDF by PDFium: pages in reading order, each with a map from the document's characters to the page's own."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pypdfium2

from indexing.converters.content import Content, ConversionError, pdf_date, plain_meta
from indexing.converters.pdf import fields, glyphs, layout, margins, rules
from indexing.converters.pdf.flow import Flow, placed
from indexing.converters.pdf.grids import Grid
from indexing.converters.pdf.hyphens import Hyphens
from indexing.converters.pdf.lines import Line
from indexing.converters.pdf.margins import Margins, Sheet
from search_app.types import Heading, Page

_MAX_LISTED = 10


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
    sheets: list[Sheet] = []
    broken: list[int] = []
    for number in range(1, len(pdf) + 1):
        try:
            sheets.append(_sheet(pdf, number))
        except pypdfium2.PdfiumError:
            broken.append(number)
    if not sheets:
        raise ConversionError("none of its pages can be read")
    scanned = [sheet.number for sheet in sheets if not sheet.blocks]
    running = margins.find(sheets)
    flow = _flow(sheets, running)
    text, pages = flow.text(), flow.pages(len(pdf))
    meta = _meta(pdf) | _running(running)
    warnings = tuple(_warnings(scanned, broken, len(pdf)))
    headings = tuple(_outline(pdf, text, pages))
    return Content(text, str(meta.get("title", "")), plain_meta(meta), headings, tuple(pages), warnings, flow.tables)


def _sheet(pdf: pypdfium2.PdfDocument, number: int) -> Sheet:
    page = pdf[number - 1]
    try:
        found = glyphs.read(page, number)
        pieces = fields.placed(glyphs.pieces(found), fields.pieces(page, found))
        return Sheet(number, found.height, list(layout.blocks(found, pieces, rules.read(page))))
    finally:
        page.close()


def _flow(sheets: Sequence[Sheet], running: Margins) -> Flow:
    bodies = [
        (sheet.number, running.body(sheet, first=sheet is sheets[0], last=sheet is sheets[-1])) for sheet in sheets
    ]
    flow = Flow(Hyphens([block.strand.text for _, body in bodies for block in body]))
    for number, body in bodies:
        lines = iter(placed([block for block in body if isinstance(block, Line)], number))
        for block in body:
            if isinstance(block, Grid):
                flow.table(block, first=block is body[0])
            else:
                flow.line(next(lines))
    return flow


def _running(running: Margins) -> dict[str, object]:
    found = {"header": running.header, "footer": running.footer}
    return {name: texts[0] if len(texts) == 1 else list(texts) for name, texts in found.items() if texts}


def _warnings(scanned: Sequence[int], broken: Sequence[int], pages: int) -> Iterator[str]:
    if scanned:
        yield f"no text on {_listed(scanned)} of {pages}: scanned or only pictures; run OCR on it"
    if broken:
        yield f"{_listed(broken)} of {pages} cannot be read"


def _outline(pdf: pypdfium2.PdfDocument, text: str, pages: list[Page]) -> Iterator[Heading]:
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


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MAX_LISTED])) + (", …" if len(numbers) > _MAX_LISTED else "")
    return f"page{'s' if len(numbers) > 1 else ''} {shown}"
