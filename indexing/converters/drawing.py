"""A page of a file as a PNG picture, with places on it marked as by a highlighter."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Place = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the page, from its top left corner."""

_MAX_HEIGHT = 4000
"""Pixels."""
_YELLOW, _EDGE = "#ffe58a", "#d9a400"
_GAP = 0.03
"""Share of a page's width: the widest space between two words that are marked as one."""
_MARGIN = 2
"""Pixels around a marked place."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked on a page: places, and characters of the page's own list as pairs of start and length."""

    places: Sequence[Place] = ()
    characters: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """The width of a picture in pixels; a page that would be very high becomes narrower."""

    width: int

    def scale(self, width: float, height: float) -> float:
        """Pixels for each unit of a page's width and height."""
        return min(self.width / max(width, 1.0), _MAX_HEIGHT / max(height, 1.0))


Draw = Callable[[Path, int, Size, Marks], "tuple[Image.Image, list[Place]]"]
"""Draws a page of a file, and gives the places to mark on it. Raises ConversionError."""


def png(path: Path, drawer: str, number: int, size: Size, marks: Marks) -> bytes:
    """Page `number` (from 1) as PNG. `drawer` is that of the file's format. Raises ConversionError or OSError."""
    module, _, name = drawer.partition(":")
    draw: Draw = getattr(importlib.import_module(f"indexing.converters.{module}"), name)
    picture, places = draw(path, number, size, marks)
    for place in _joined(places):
        _mark(picture, place)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _joined(places: Sequence[Place]) -> Iterator[Place]:
    """Neighbours in a line, such as the words of a scan, as one place."""
    last: Place | None = None
    for place in places:
        if last is not None and _are_neighbours(last, place):
            last = (last[0], min(last[1], place[1]), place[2], max(last[3], place[3]))
            continue
        if last is not None:
            yield last
        last = place
    if last is not None:
        yield last


def _are_neighbours(one: Place, other: Place) -> bool:
    height = min(one[3] - one[1], other[3] - other[1])
    overlap = min(one[3], other[3]) - max(one[1], other[1])
    return overlap > height / 2 and one[0] <= other[0] <= one[2] + _GAP


def _mark(picture: Image.Image, place: Place) -> None:
    from PIL import Image, ImageChops, ImageDraw

    left, top, right, bottom = (
        round(share * length) for share, length in zip(place, (*picture.size, *picture.size), strict=True)
    )
    box = (
        max(0, left - _MARGIN),
        max(0, top - _MARGIN),
        min(picture.width, right + _MARGIN),
        min(picture.height, bottom + _MARGIN),
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        return
    part = picture.crop(box)
    picture.paste(ImageChops.multiply(part, Image.new("RGB", part.size, _YELLOW)), box)
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=_EDGE)
