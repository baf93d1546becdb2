"""The straight lines that are drawn on a page, and borders of filled rectangles."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from indexing.converters.pdf.glyphs import upright

_MAX_SEGMENTS = 5000
"""A page with more of them is a drawing."""
_MAX_DEPTH = 3
_SNAP = 2.5
"""Points: lines that are nearer are one."""
_MIN_LENGTH = 4.0
_WHOLE_PAGE = 0.95

Matrix = tuple[float, float, float, float, float, float]
Segment = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line at `place` (y of a horizontal, x of a vertical one) from `start` to `end`, in points from the top left."""

    place: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Those of a page."""

    horizontal: Sequence[Rule]
    vertical: Sequence[Rule]


def read(page: pypdfium2.PdfPage) -> Rules:
    """All rules of the page; none if it is a drawing."""
    segments: list[Segment] = []
    for segment in _segments(page):
        segments.append(segment)
        if len(segments) > _MAX_SEGMENTS:
            return Rules((), ())
    if not segments:
        return Rules((), ())
    places = np.array([(min(a, c), max(b, d), max(a, c), min(b, d)) for a, b, c, d in segments], np.float32)
    boxes = upright(page, places).tolist()
    width, height = page.get_size()
    return Rules(
        _joined([Rule((y0 + y1) / 2, x0, x1) for x0, y0, x1, y1 in boxes if y1 - y0 < 1 and x1 - x0 > y1 - y0], width),
        _joined([Rule((x0 + x1) / 2, y0, y1) for x0, y0, x1, y1 in boxes if x1 - x0 < 1 and y1 - y0 > x1 - x0], height),
    )


def _joined(rules: Sequence[Rule], size: float) -> list[Rule]:
    """One for several in one line that touch; short ones and the border of the page are left out."""
    found: list[Rule] = []
    for group in _lines(rules):
        reach: Rule | None = None
        for rule in sorted(group, key=lambda rule: rule.start):
            if reach is not None and rule.start <= reach.end + _SNAP:
                reach = Rule(reach.place, reach.start, max(reach.end, rule.end))
            else:
                found += [reach] if reach is not None else []
                reach = Rule(group[0].place, rule.start, rule.end)
        found += [reach] if reach is not None else []
    return [rule for rule in found if _MIN_LENGTH <= rule.end - rule.start <= _WHOLE_PAGE * size]


def _lines(rules: Sequence[Rule]) -> Iterator[list[Rule]]:
    group: list[Rule] = []
    for rule in sorted(rules, key=lambda rule: rule.place):
        if group and rule.place - group[0].place > _SNAP:
            yield group
            group = []
        group.append(rule)
    if group:
        yield group


def _segments(page: pypdfium2.PdfPage) -> Iterator[Segment]:
    """Straight parts of paths in the page's own space."""
    count = pdfium.FPDFPage_CountObjects(page.raw)
    for index in range(count):
        yield from _of_object(pdfium.FPDFPage_GetObject(page.raw, index), (1, 0, 0, 1, 0, 0), 0)


def _of_object(item: object, outer: Matrix, depth: int) -> Iterator[Segment]:
    kind = pdfium.FPDFPageObj_GetType(item)
    if kind == pdfium.FPDF_PAGEOBJ_PATH and _is_drawn(item):
        yield from _of_path(item, _product(_matrix(item), outer))
    elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
        matrix = _product(_matrix(item), outer)
        for index in range(pdfium.FPDFFormObj_CountObjects(item)):
            yield from _of_object(pdfium.FPDFFormObj_GetObject(item, index), matrix, depth + 1)


def _is_drawn(item: object) -> bool:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(item, fill, stroke)
    return bool(fill.value or stroke.value)


def _matrix(item: object) -> Matrix:
    found = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(item, found):
        return 1, 0, 0, 1, 0, 0
    return found.a, found.b, found.c, found.d, found.e, found.f


def _product(inner: Matrix, outer: Matrix) -> Matrix:
    a, b, c, d, e, f = inner
    g, h, i, j, k, m = outer
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def _of_path(item: object, matrix: Matrix) -> Iterator[Segment]:
    start = last = (0.0, 0.0)
    for index in range(min(pdfium.FPDFPath_CountSegments(item), _MAX_SEGMENTS + 1)):
        segment = pdfium.FPDFPath_GetPathSegment(item, index)
        point = _point(segment, matrix)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == pdfium.FPDF_SEGMENT_LINETO:
            yield *last, *point
        last = point
        if pdfium.FPDFPathSegment_GetClose(segment):
            yield *last, *start
            last = start


def _point(segment: object, matrix: Matrix) -> tuple[float, float]:
    x, y = ctypes.c_float(), ctypes.c_float()
    pdfium.FPDFPathSegment_GetPoint(segment, x, y)
    a, b, c, d, e, f = matrix
    return a * x.value + c * y.value + e, b * x.value + d * y.value + f
