"""The characters of a page with their places, cut into pieces of lines."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from indexing.converters.pdf.strands import Place, Source, Strand

HYPHEN = "\x02"
"""A hyphen at the end of a line, as PDFium marks it."""
_DROPPED = "\u200b\u200c\u200d\ufeff\u00ad"
_SPECIAL = re.compile(rf"[\ud800-\udbff][\udc00-\udfff]|[\0\x02\ufffe\ud800-\udfff{_DROPPED}]")
_SOLID = np.ones(1 << 16, np.bool_)
"""By UTF-16 unit: whether it is shown and no white space. Of a pair, the first one counts."""
_SOLID[[code for code in range(0x3001) if chr(code).isspace()]] = False
_SOLID[[ord(character) for character in _DROPPED]] = _SOLID[0xDC00:0xE000] = False
_GAP = 0.9
"""Of the height of the characters: a wider gap in a line ends a piece."""
_LEVEL, _WIDE = 0.05, 0.45
"""Of the height: how far the ends of a word in a line are apart up and down, and a character's width at most."""
_GET_BOX = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(pdfium.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0
)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Page `number` (from 1): one text per character that PDFium lists, "" for one that is not shown.

    `boxes`: (n, 4) left, top, right, bottom in points from the top left corner of the page as it is shown. `solid`:
    the characters that are shown and are no white space, `lines`: the number of each one's line.
    """

    number: int
    width: float
    height: float
    characters: list[str]
    boxes: NDArray[np.float32]
    solid: NDArray[np.int64]
    lines: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line without a wide gap. `line` counts PDFium's lines on the page, `filled` is what a field holds."""

    strand: Strand
    left: float
    top: float
    right: float
    bottom: float
    line: int
    filled: bool = False

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def text(self) -> str:
        return self.strand.text


def read(page: pypdfium2.PdfPage, number: int) -> Glyphs:
    """The characters of page `number`. Raises PdfiumError."""
    text_page = page.get_textpage()
    try:
        handle, count = text_page.raw, text_page.count_chars()
        codes = _codes(handle, count)
        solid, lines = _solid(codes)
        boxes = _boxes(handle, count, solid)
    finally:
        text_page.close()
    width, height = page.get_size()
    return Glyphs(number, width, height, _characters(codes), upright(page, boxes), solid, lines)


def _solid(codes: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions of characters that are shown and are no white space, and their lines."""
    ends = (codes == 0x0A) | ((codes == 0x0D) & (np.append(codes[1:], np.uint16(0)) != 0x0A))
    hyphens = (codes == 0x02) | (codes == 0xFFFE)
    lines = np.cumsum(ends | hyphens) - hyphens
    solid = np.flatnonzero(_SOLID[codes])
    return solid, lines[solid]


def upright(page: pypdfium2.PdfPage, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4) left, top, right, bottom in the page's own space to the same from its top left corner as it is shown."""
    left, bottom, right, top = page.get_cropbox()
    x0, y0, x1, y1 = boxes[:, 0] - left, boxes[:, 3] - bottom, boxes[:, 2] - left, boxes[:, 1] - bottom
    width, height = right - left, top - bottom
    turned = {
        0: (x0, height - y1, x1, height - y0),
        90: (y0, x0, y1, x1),
        180: (width - x1, y0, width - x0, y1),
        270: (height - y1, width - x1, height - y0, width - x0),
    }[page.get_rotation() % 360]
    places: NDArray[np.float32] = np.nan_to_num(np.stack(turned, axis=1), posinf=0, neginf=0).astype(np.float32)
    return places


def _codes(handle: object, count: int) -> NDArray[np.uint16]:
    """All at once, unless PDFium leaves out some of them."""
    buffer = (ctypes.c_ushort * (count + 1))()
    if pdfium.FPDFText_GetText(handle, 0, count, buffer) != count + 1:
        buffer[:count] = [pdfium.FPDFText_GetUnicode(handle, position) & 0xFFFF for position in range(count)]
    return np.array(buffer[:count], np.uint16)


def _boxes(handle: object, count: int, solid: NDArray[np.int64]) -> NDArray[np.float32]:
    """(count, 4): PDFium's for the ends of a word and for words that are not in a plain line, in between by share.

    PDFium takes most of the time of a page for them.
    """
    boxes = (pdfium.FS_RECTF * max(count, 1))()
    found = np.frombuffer(boxes, np.float32, 4 * count).reshape(count, 4)
    if not len(solid):
        return found
    cuts = np.diff(solid) > 1
    first, last = np.append(True, cuts), np.append(cuts, True)
    starts, stops, edges = solid[first], solid[last], solid[first | last]
    _ask(handle, boxes, edges)
    plain = _are_plain(found[starts], found[stops], stops - starts + 1)[np.cumsum(first) - 1]
    inner = ~(first | last)
    _ask(handle, boxes, solid[inner & ~plain])
    known = solid[inner & plain]
    filled = found.copy()
    for side in range(4):
        filled[known, side] = np.interp(known, edges, found[edges, side])
    return filled


def _ask(handle: object, boxes: Any, positions: NDArray[np.int64]) -> None:
    address, size = ctypes.addressof(boxes), ctypes.sizeof(pdfium.FS_RECTF)
    page = ctypes.cast(handle, ctypes.c_void_p).value  # type: ignore[arg-type]
    targets = (address + size * positions).tolist()
    # Half as long as a call with a structure for each character.
    deque(map(_GET_BOX, repeat(page), positions.tolist(), targets), maxlen=0)


def _are_plain(first: NDArray[np.float32], last: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether words run to the right in one line, without room for a gap, by the places of their ends in the page."""
    height = np.abs(first[:, 1] - first[:, 3])
    level = (np.abs(first[:, [1, 3]] - last[:, [1, 3]]) < _LEVEL * height[:, None]).all(axis=1)
    width = last[:, 2] - first[:, 0]
    plain: NDArray[np.bool_] = level & (last[:, 0] >= first[:, 0]) & (width <= (_WIDE * lengths + 0.5) * height)
    return plain


def _characters(codes: NDArray[np.uint16]) -> list[str]:
    text = "".join(map(chr, codes.tolist()))
    found = list(text)
    for match in _SPECIAL.finditer(text):
        if len(match[0]) == 2:
            found[match.start() : match.end()] = match[0].encode("utf-16", "surrogatepass").decode("utf-16"), ""
        else:
            found[match.start()] = _character(ord(match[0]))
    return found


def _character(code: int) -> str:
    if code in (0x02, 0xFFFE):
        return HYPHEN
    return "" if chr(code) in _DROPPED else "\ufffd"


def pieces(glyphs: Glyphs) -> list[Piece]:
    """In PDFium's order."""
    solid, lines = glyphs.solid, glyphs.lines
    if not len(solid):
        return []
    boxes = glyphs.boxes[solid]
    cuts = [0, *(np.flatnonzero(_breaks(boxes, lines)) + 1).tolist(), len(solid)]
    corners = np.hstack(
        [np.minimum.reduceat(boxes[:, :2], cuts[:-1]), np.maximum.reduceat(boxes[:, 2:], cuts[:-1])]
    ).tolist()
    return [
        Piece(strand(glyphs, int(solid[first]), int(solid[last - 1]) + 1), left, top, right, bottom, int(lines[first]))
        for (first, last), (left, top, right, bottom) in zip(pairwise(cuts), corners, strict=True)
    ]


def _breaks(boxes: NDArray[np.float32], lines: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a piece ends between each two neighbours."""
    before, after = boxes[:-1], boxes[1:]
    height = np.maximum(before[:, 3] - before[:, 1], after[:, 3] - after[:, 1])
    gap = after[:, 0] - before[:, 2]
    overlap = np.minimum(before[:, 3], after[:, 3]) - np.maximum(before[:, 1], after[:, 1])
    shown = (before[:, 2] > before[:, 0]) & (after[:, 2] > after[:, 0])
    apart = shown & ((gap > _GAP * height) | (gap < -height) | (overlap < 0))
    breaks: NDArray[np.bool_] = (np.diff(lines) > 0) | apart
    return breaks


def strand(glyphs: Glyphs, start: int, end: int) -> Strand:
    """Characters [start, end) of the page; each white space is one space."""
    text = "".join(glyphs.characters[start:end])
    if len(text) == end - start and text.isprintable() and "  " not in text:  # as nearly always
        return Strand(text, (Source(0, len(text), glyphs.number, start),))
    texts: list[str] = []
    sources: list[Source] = []
    length = 0
    for first, last in _shown(glyphs.characters, start, end):
        text = "".join(" " if character.isspace() else character for character in glyphs.characters[first:last])
        texts.append(text)
        sources.append(Source(length, len(text), glyphs.number, first))
        length += len(text)
    return Strand("".join(texts), tuple(sources))


def _shown(characters: list[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Ranges without a character that is not shown and without a space after another."""
    first = start
    for position in range(start, end):
        character = characters[position]
        if not character or (character.isspace() and position > start and characters[position - 1].isspace()):
            if first < position:
                yield first, position
            first = position + 1
    if first < end:
        yield first, end


def shares(glyphs: Glyphs, box: Place) -> Place:
    """A place in points as shares of the page, 0..1."""
    left, top, right, bottom = (
        min(1.0, max(0.0, side / (size or 1.0)))
        for side, size in zip(box, (glyphs.width, glyphs.height) * 2, strict=True)
    )
    return left, top, right, bottom


def split(glyphs: Glyphs, piece: Piece, x: float, *, at_space: bool = False) -> list[Piece]:
    """The piece in two where `x` goes through it, else as it is. `at_space`: only where `x` meets a white space."""
    if not piece.left < x < piece.right or len(piece.strand.sources) == 0 or piece.strand.sources[0].raw < 0:
        return [piece]
    places = [source.raw + offset for source in piece.strand.sources for offset in range(source.length)]
    centres = (glyphs.boxes[places, 0] + glyphs.boxes[places, 2]) / 2
    right = [index for index, character in enumerate(piece.text) if character != " " and centres[index] > x]
    left = [index for index, character in enumerate(piece.text) if character != " " and centres[index] <= x]
    if not left or not right or left[-1] > right[0] or (at_space and " " not in piece.text[left[-1] : right[0]]):
        return [piece]
    return [_part(glyphs, piece, places, first, last) for first, last in ((left[0], left[-1]), (right[0], right[-1]))]


def _part(glyphs: Glyphs, piece: Piece, places: list[int], first: int, last: int) -> Piece:
    """Characters `first` to `last` of the piece, neither of them a white space."""
    left, right = float(glyphs.boxes[places[first], 0]), float(glyphs.boxes[places[last], 2])
    return Piece(piece.strand[first : last + 1], left, piece.top, right, piece.bottom, piece.line)
