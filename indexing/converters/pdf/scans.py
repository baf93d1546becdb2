"""Pages that are pictures: their text by OCR, with its places as shares of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import atan2, cos, sin
from statistics import fmean, median

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from indexing.converters import ocr
from indexing.converters.ocr import Pixels, TextLine
from indexing.converters.pdf.glyphs import Glyphs, Piece
from indexing.converters.pdf.layout import blocks
from indexing.converters.pdf.lines import rows
from indexing.converters.pdf.margins import Sheet
from indexing.converters.pdf.rules import Rules
from indexing.converters.pdf.strands import Source, Strand

_MAX_SCALE = 200 / 72
_LONG_SIDE = 842.0
"""Points of a page that is a picture without a size: A4."""
_STRETCHED = 5
"""A line so much wider than high shows how far the page is turned."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A page that was read by OCR, with the mean confidence of its lines, 0..1; 0 without lines."""

    sheet: Sheet
    confidence: float


class TooLarge(Exception):
    """A picture has too many pixels."""


def is_scan(page: pypdfium2.PdfPage) -> bool:
    """Whether something is drawn on a page that has no text."""
    return bool(pdfium.FPDFPage_CountObjects(page.raw) > 0)


def read(page: pypdfium2.PdfPage, number: int) -> Scan:
    """The text of a page of a PDF. Raises TooLarge, PdfiumError, ModuleNotFoundError without the extra `ocr`."""
    if is_too_large(page):
        raise TooLarge
    width, height = page.get_size()
    scale = min(_MAX_SCALE, ocr.MAX_SIDE / max(width, height, 1.0))
    bitmap = page.render(scale=scale, rev_byteorder=True, may_draw_forms=False, maybe_alpha=False)
    try:
        pixels = np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
    finally:
        bitmap.close()
    return read_picture(pixels, number, (width, height))


def is_too_large(page: pypdfium2.PdfPage) -> bool:
    """Whether a picture on a page has too many pixels."""
    pictures = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3)
    return any(width * height > ocr.MAX_PIXELS for width, height in (item.get_px_size() for item in pictures))


def read_picture(pixels: Pixels, number: int, size: tuple[float, float] | None = None) -> Scan:
    """The text of a picture that is page `number`, `size` its width and height in points."""
    height, width = pixels.shape[:2]
    points = size or (_LONG_SIDE * width / max(width, height), _LONG_SIDE * height / max(width, height))
    found = ocr.read(pixels)
    pieces = [_piece(line, turned, number, (width, height), points) for line, turned in _straight(found, width, height)]
    empty = np.zeros(0, np.int64)
    glyphs = Glyphs(number, points[0], points[1], [], np.zeros((0, 4), np.float32), empty, empty)
    confidence = fmean(line.confidence for line in found) if found else 0.0
    return Scan(Sheet(number, points[1], list(blocks(glyphs, _in_rows(pieces), Rules((), ())))), confidence)


def _straight(found: Sequence[TextLine], width: int, height: int) -> Iterator[tuple[TextLine, NDArray[np.float64]]]:
    """The lines with their corners as if the page had been put straight into the scanner."""
    angle = _angle(found)
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    middle = np.array([width / 2, height / 2])
    for line in found:
        yield line, (line.corners - middle) @ turn + middle


def _angle(found: Sequence[TextLine]) -> float:
    """Radians, clockwise."""
    angles = []
    for line in found:
        (x0, y0), (x1, y1), _, (x3, y3) = line.corners.tolist()
        if x1 - x0 > _STRETCHED * max(1.0, abs(y3 - y0)) and x3 <= x1:
            angles.append(atan2(y1 - y0, x1 - x0))
    return median(angles) if angles else 0.0


def _piece(
    line: TextLine,
    corners: NDArray[np.float64],
    number: int,
    pixels: tuple[int, int],
    points: tuple[float, float],
) -> Piece:
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    x, y = points[0] / pixels[0], points[1] / pixels[1]
    return Piece(_strand(line, number, pixels), left * x, top * y, right * x, bottom * y, -1)


def _strand(line: TextLine, number: int, pixels: tuple[int, int]) -> Strand:
    """The line's text, each word with its place; the line's place for all if a word is not in the text."""
    text = " ".join(line.text.split())
    sources: list[Source] = []
    position = 0
    for word in line.words:
        start = text.find(word.text, position)
        if start < 0:
            break
        position = start + len(word.text)
        sources.append(Source(start, len(word.text), number, box=_shares(word.place, pixels)))
    else:
        if sources:
            return Strand(text, tuple(sources))
    (left, top), (right, bottom) = line.corners.min(axis=0).tolist(), line.corners.max(axis=0).tolist()
    return Strand(text, (Source(0, len(text), number, box=_shares((left, top, right, bottom), pixels)),))


def _shares(place: tuple[float, float, float, float], pixels: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (
        min(1.0, max(0.0, side / size)) for side, size in zip(place, (*pixels, *pixels), strict=True)
    )
    return left, top, right, bottom


def _in_rows(pieces: Sequence[Piece]) -> list[Piece]:
    """From top to bottom, those side by side as one line."""
    return [
        Piece(piece.strand, piece.left, piece.top, piece.right, piece.bottom, number)
        for number, row in enumerate(rows(pieces))
        for piece in row
    ]
