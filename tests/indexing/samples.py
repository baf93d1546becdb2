"""Real files of every format, made on the spot."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def pdf(path: Path, pages: Sequence[Sequence[str]], *, password: str = "", outline: bool = False, **info: str) -> Path:
    """One list of lines a page; an empty list draws a picture instead, as a scanner does."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    encryption = StandardEncryption(password, canPrint=0) if password else None
    canvas = Canvas(str(path), pagesize=A4, encrypt=encryption)
    for name, value in info.items():
        getattr(canvas, f"set{name.title()}")(value)
    for number, lines in enumerate(pages):
        if outline and lines:
            canvas.bookmarkPage(f"page{number}")
            canvas.addOutlineEntry(lines[0], f"page{number}", level=0)
        for row, line in enumerate(lines):
            canvas.drawString(72, 760 - 16 * row, line)
        if not lines:
            canvas.rect(100, 100, 300, 300, fill=1)
        canvas.showPage()
    canvas.save()
    return path


def pdf_without_pages(path: Path) -> Path:
    return raw_pdf(path, [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"])


def raw_pdf(path: Path, objects: Sequence[bytes]) -> Path:
    """The objects as they are, the first being the catalogue, with a correct cross-reference table."""
    body, offsets = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    xref, size = len(body), len(objects) + 1
    body += b"xref\n0 %d\n0000000000 65535 f \n" % size
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, xref)
    path.write_bytes(body)
    return path


def docx(path: Path) -> Path:
    import docx as library

    document = library.Document()
    document.core_properties.title, document.core_properties.author = "The manual", "Ada"
    document.add_heading("Engines", level=1)
    document.add_paragraph("An engine turns heat into work.")
    document.add_heading("Diesel", level=2)
    document.add_paragraph("first point", style="List Bullet")
    document.add_paragraph("second point", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, cells in enumerate((("part", "price"), ("valve", "12"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.save(str(path))
    return path


def pptx(path: Path) -> Path:
    import pptx as library
    from pptx.util import Inches

    presentation = library.Presentation()
    for title, body in (("Results", "Sales grew by nine percent."), ("Outlook", "We expect more.")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    table = slide.shapes.add_table(1, 2, Inches(1), Inches(4), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "north", "south"
    presentation.slides.add_slide(presentation.slide_layouts[6])
    presentation.save(str(path))
    return path


def zip_bomb(path: Path, megabytes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as file:
        block = b"\0" * (1 << 20)
        for _ in range(megabytes):
            file.write(block)
    return path


SQUAD: dict[str, Any] = {
    "version": "1.1",
    "data": [
        {
            "title": "Super_Bowl_50",
            "paragraphs": [{"context": "Denver won.", "qas": []}, {"context": "It was in 2016.", "qas": []}],
        },
        {"title": "Warsaw", "paragraphs": [{"context": "Warsaw is a city.", "qas": []}]},
    ],
}
