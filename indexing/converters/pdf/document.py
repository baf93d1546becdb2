"""Pages to a document: running headers and footers are left out, paragraphs and tables go over pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexing.converters.pdf import margins
from indexing.converters.pdf.flow import Flow, placed
from indexing.converters.pdf.grids import Grid
from indexing.converters.pdf.hyphens import Hyphens
from indexing.converters.pdf.lines import Line
from indexing.converters.pdf.margins import Margins, Sheet
from indexing.converters.pdf.scans import Scan
from search_app.types import Page, Table

_LOW = 0.8
"""Confidence: the text of a page with less may be wrong."""
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Body:
    """The text of all pages, and what is known from their margins and their OCR."""

    text: str
    pages: tuple[Page, ...]
    tables: tuple[Table, ...]
    meta: dict[str, object]
    warnings: tuple[str, ...]


def body(sheets: Sequence[Sheet], scans: Sequence[Scan], count: int) -> Body:
    """Of a document of `count` pages; each one that can be read is a sheet or a scan."""
    ordered = sorted([*sheets, *(scan.sheet for scan in scans)], key=lambda sheet: sheet.number)
    running = margins.find(ordered)
    flow = _flow(ordered, running)
    low = [scan.sheet.number for scan in scans if scan.sheet.blocks and scan.confidence < _LOW]
    warnings = (f"the text of {listed(low)} of {count} was hard to recognise: it may be wrong",) if low else ()
    return Body(flow.text(), tuple(flow.pages(count)), flow.tables, _margins(running) | _ocr(scans), warnings)


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


def _margins(running: Margins) -> dict[str, object]:
    found = {"header": running.header, "footer": running.footer}
    return {name: texts[0] if len(texts) == 1 else list(texts) for name, texts in found.items() if texts}


def _ocr(scans: Sequence[Scan]) -> dict[str, object]:
    read = [scan for scan in scans if scan.sheet.blocks]
    if not read:
        return {}
    return {
        "ocr": {
            "pages": [scan.sheet.number for scan in read],
            "confidence": [round(scan.confidence, 3) for scan in read],
        }
    }


def listed(numbers: Sequence[int]) -> str:
    """Such as "pages 2, 4": the first ten."""
    shown = ", ".join(map(str, numbers[:_MAX_LISTED])) + (", …" if len(numbers) > _MAX_LISTED else "")
    return f"page{'s' if len(numbers) > 1 else ''} {shown}"
