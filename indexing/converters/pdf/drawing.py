"""A page of a PDF as a picture, and the places of its characters."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from indexing.converters import ocr
from indexing.converters.content import ConversionError
from indexing.converters.drawing import Marks, Place, Size
from indexing.converters.pdf import scans
from indexing.converters.pdf.glyphs import upright

_MAX_RECTS = 1000


def draw(path: Path, number: int, size: Size, marks: Marks) -> tuple[Image.Image, list[Place]]:
    """Page `number`, and the places of the marked characters. Raises ConversionError."""
    try:
        with pypdfium2.PdfDocument(path) as pdf:
            if not 1 <= number <= len(pdf):
                raise ConversionError(f"it has {len(pdf)} pages")
            pdf.init_forms()
            page = pdf[number - 1]
            try:
                return _picture(page, size), [*marks.places, *_places(page, marks.characters)]
            finally:
                page.close()
    except pypdfium2.PdfiumError as error:
        raise ConversionError("it is damaged: PDFium cannot draw it") from error


def _picture(page: pypdfium2.PdfPage, size: Size) -> Image.Image:
    if scans.is_too_large(page):
        raise ConversionError(f"a picture on it has more than {ocr.MAX_PIXELS // 10**6} megapixels")
    bitmap = page.render(scale=size.scale(*page.get_size()), rev_byteorder=True, maybe_alpha=False)
    try:
        picture: Image.Image = bitmap.to_pil().convert("RGB")
        return picture
    finally:
        bitmap.close()


def _places(page: pypdfium2.PdfPage, characters: Sequence[tuple[int, int]]) -> list[Place]:
    """As shares of the page, one for each part of a line; `characters` are ranges of PDFium's list: start, length."""
    text_page = page.get_textpage()
    try:
        rects = [rect for start, length in characters for rect in _rects(text_page.raw, start, length)]
    finally:
        text_page.close()
    width, height = page.get_size()
    boxes = upright(page, np.array(rects, np.float32).reshape(-1, 4)) / np.array([width, height, width, height])
    return [(left, top, right, bottom) for left, top, right, bottom in boxes.clip(0, 1).tolist()]


def _rects(text_page: object, start: int, length: int) -> Iterator[tuple[float, float, float, float]]:
    """Left, top, right, bottom in the page's own space."""
    sides = [ctypes.c_double() for _ in range(4)]
    for number in range(min(_MAX_RECTS, pdfium.FPDFText_CountRects(text_page, start, length))):
        if pdfium.FPDFText_GetRect(text_page, number, *map(ctypes.byref, sides)):
            left, top, right, bottom = (side.value for side in sides)
            yield left, top, right, bottom
