"""What people filled in: the values of form fields and free texts on a page, beside their labels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from indexing.converters.pdf.glyphs import Glyphs, Piece, shares, upright
from indexing.converters.pdf.strands import Source, Strand

_MAX_ANNOTATIONS = 5000
_MAX_CHARACTERS = 100_000
_TEXT = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX)
_MARKS = {pdfium.FPDF_FORMFIELD_CHECKBOX: ("no", "yes"), pdfium.FPDF_FORMFIELD_RADIOBUTTON: ("[ ]", "[x]")}
"""For a button that is not chosen, and for one that is."""


def pieces(page: pypdfium2.PdfPage, glyphs: Glyphs) -> list[Piece]:
    """One for each filled field, check box and free text of the page."""
    count = min(pdfium.FPDFPage_GetAnnotCount(page.raw), _MAX_ANNOTATIONS)
    return [piece for index in range(count) if (piece := _piece(page, glyphs, index)) is not None]


def _piece(page: pypdfium2.PdfPage, glyphs: Glyphs, index: int) -> Piece | None:
    annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
    if not annotation:
        return None
    try:
        text = " ".join(_text(page, annotation).replace("\0", " ").split())
        rectangle = pdfium.FS_RECTF()
        if not text or not pdfium.FPDFAnnot_GetRect(annotation, rectangle):
            return None
    finally:
        pdfium.FPDFPage_CloseAnnot(annotation)
    corners = np.array([[rectangle.left, rectangle.top, rectangle.right, rectangle.bottom]], np.float32)
    left, top, right, bottom = upright(page, corners)[0].tolist()
    source = Source(0, len(text), glyphs.number, box=shares(glyphs, (left, top, right, bottom)))
    return Piece(Strand(text, (source,)), left, top, right, bottom, -1, filled=True)


def _text(page: pypdfium2.PdfPage, annotation: object) -> str:
    hidden = pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
    if pdfium.FPDFAnnot_GetFlags(annotation) & hidden:
        return ""
    kind = pdfium.FPDFAnnot_GetSubtype(annotation)
    if kind == pdfium.FPDF_ANNOT_FREETEXT:
        return _string(lambda *buffer: pdfium.FPDFAnnot_GetStringValue(annotation, b"Contents", *buffer))
    if kind != pdfium.FPDF_ANNOT_WIDGET or page.formenv is None:
        return ""
    form = page.formenv.raw
    field = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if field in _MARKS:
        return _MARKS[field][bool(pdfium.FPDFAnnot_IsChecked(form, annotation))]
    if field not in _TEXT:
        return ""
    return _string(lambda *buffer: pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, *buffer))


def _string(get: Callable[..., int]) -> str:
    """Call a function of PDFium that fills a buffer with UTF-16 and gives its length in bytes."""
    size = min(get(None, 0), 2 * _MAX_CHARACTERS)
    buffer = ctypes.create_string_buffer(size + 2)
    get(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[:size].decode("utf-16-le", "replace").rstrip("\0")


def placed(pieces: Sequence[Piece], fields: Sequence[Piece]) -> list[Piece]:
    """The pieces of a page with the fields put in: beside others in their line, else below the one above."""
    found = list(pieces)
    for field in sorted(fields, key=lambda field: (field.top, field.left)):
        index, line = _place(found, field)
        found.insert(index, replace(field, line=line))
    return found


def _place(pieces: Sequence[Piece], field: Piece) -> tuple[int, int]:
    """Where in the list, and in which line."""
    beside = [(index, piece) for index, piece in enumerate(pieces) if _overlap(piece, field) > 0]
    before = [(index, piece) for index, piece in beside if piece.left <= field.left]
    if before:
        index, piece = max(before, key=lambda item: (item[1].left, _overlap(item[1], field)))
        return index + 1, piece.line
    if beside:
        index, piece = min(beside, key=lambda item: (item[1].left, -_overlap(item[1], field)))
        return index, piece.line
    above = [(index, piece) for index, piece in enumerate(pieces) if piece.bottom <= field.top + field.height / 2]
    index = max(above, key=lambda item: item[1].bottom)[0] + 1 if above else 0
    return index, -2 - len(pieces)


def _overlap(one: Piece, other: Piece) -> float:
    """Of their heights, beyond half of the lower one."""
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared - 0.4 * min(one.height, other.height)
