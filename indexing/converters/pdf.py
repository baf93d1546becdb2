"""PDF by PDFium: pages, each with a map from the document's characters to the page's own."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from indexing.converters.content import Content, ConversionError, pdf_date, plain_meta
from search_app.types import Heading, Page, Run

_SOFT_HYPHEN_MARK = 0x02  # PDFium's mark for a hyphen at a line break
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
    parts: list[str] = []
    pages: list[Page] = []
    scanned: list[int] = []
    broken: list[int] = []
    length = 0
    for number in range(1, len(pdf) + 1):
        try:
            text, runs = _page(pdf, number - 1)
        except pypdfium2.PdfiumError:
            text, runs = "", []
            broken.append(number)
        if not text.strip() and number not in broken:
            scanned.append(number)
        moved = tuple(Run(run.start + length, run.raw_start, run.length) for run in runs)
        separator = "\n\n" if text else ""
        pages.append(Page(number, length, length + len(text) + len(separator), moved))
        parts.append(text + separator)
        length += len(text) + len(separator)
    if len(broken) == len(pages):
        raise ConversionError("none of its pages can be read")
    warnings = []
    if scanned:
        warnings.append(f"no text on {_listed(scanned)} of {len(pages)}: scanned or only pictures; run OCR on it")
    if broken:
        warnings.append(f"{_listed(broken)} of {len(pages)} cannot be read")
    meta = _meta(pdf)
    text = "".join(parts)
    headings = tuple(_outline(pdf, text, pages))
    return Content(text, str(meta.get("title", "")), plain_meta(meta), headings, tuple(pages), tuple(warnings))


def _page(pdf: pypdfium2.PdfDocument, index: int) -> tuple[str, list[Run]]:
    """The page's text with plain line ends and without hyphenation, and the map to its characters."""
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        count = text_page.count_chars()
        handle = text_page.raw
        get = pdfium.FPDFText_GetUnicode
        codes = [get(handle, position) for position in range(count)]
    finally:
        text_page.close()
        page.close()
    characters: list[str] = []
    places: list[int] = []
    position = 0
    while position < count:
        code, place = codes[position], position
        position += 1
        if code == _SOFT_HYPHEN_MARK:
            while position < count and codes[position] in (0x0D, 0x0A):
                position += 1
            continue
        if code == 0x0D and position < count and codes[position] == 0x0A:
            continue
        if 0xD800 <= code < 0xDC00 and position < count and 0xDC00 <= codes[position] < 0xE000:
            code = 0x10000 + ((code - 0xD800) << 10) + (codes[position] - 0xDC00)
            position += 1
        characters.append(_character(code))
        places.append(place)
    return "".join(characters), _runs(places)


def _character(code: int) -> str:
    if code == 0x0D:
        return "\n"
    if code == 0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return "\ufffd"
    return chr(code)


def _runs(places: list[int]) -> list[Run]:
    runs: list[Run] = []
    start = 0
    for index in range(1, len(places) + 1):
        if index == len(places) or places[index] != places[index - 1] + 1:
            runs.append(Run(start, places[start], index - start))
            start = index
    return runs


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


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MAX_LISTED])) + (", …" if len(numbers) > _MAX_LISTED else "")
    return f"page{'s' if len(numbers) > 1 else ''} {shown}"
