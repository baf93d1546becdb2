"""Pictures of text: PNG, JPEG and TIFF of several pages, by OCR."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from indexing.converters import ocr
from indexing.converters.content import Content, ConversionError, plain_meta
from indexing.converters.drawing import Marks, Place, Size
from indexing.converters.ocr import Pixels
from indexing.converters.pdf.document import body
from indexing.converters.pdf.scans import Scan, read_picture
from search_app.errors import install_command
from search_app.types import Page

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_MAX_PAGES = 5000


def convert(path: Path) -> Iterator[Content]:
    """Yield one document, a page for each picture in the file."""
    with _opened(path) as image:
        yield _content(image)


def draw(path: Path, number: int, size: Size, marks: Marks) -> tuple[Image.Image, list[Place]]:
    """Picture `number` of the file, not enlarged, and the marked places. Raises ConversionError."""
    with _opened(path) as image:
        image.seek(number - 1)
        picture = Image.fromarray(_pixels(image))
    scale = min(1.0, size.scale(*picture.size))
    picture.thumbnail((ceil(picture.width * scale), ceil(picture.height * scale)), Image.Resampling.LANCZOS)
    return picture, list(marks.places)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Raises ConversionError, also for what fails while the picture is read."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise ConversionError("it is not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        raise ConversionError(_too_large()) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ConversionError(f"it is damaged: {error}") from error


def _content(image: Image.Image) -> Content:
    count = min(getattr(image, "n_frames", 1), _MAX_PAGES)
    if ocr.is_postponed():
        return Content("", pages=tuple(ocr.counted(Page(number, 0, 0)) for number in range(1, count + 1)))
    if not ocr.is_installed():
        command = install_command("ocr")
        warning = f"no text: a picture; install search-app[ocr] to read it: {command}"
        return Content("", warnings=(warning,), unread=count)
    scans = list(_scans(image))
    read = body([], scans, len(scans))
    warnings = read.warnings if any(scan.sheet.blocks for scan in scans) else ("no text: OCR found none",)
    meta = plain_meta({"pages": len(scans)} | read.meta)
    unread = sum(not scan.sheet.blocks for scan in scans)
    return Content(read.text, "", meta, (), read.pages, warnings, read.tables, unread=unread)


def _scans(image: Image.Image) -> Iterator[Scan]:
    for number, frame in enumerate(ImageSequence.Iterator(image), start=1):
        if number > _MAX_PAGES:
            raise ConversionError(f"it has more than {_MAX_PAGES} pages")
        yield read_picture(_pixels(frame), number)


def _pixels(frame: Image.Image) -> Pixels:
    """The picture as it is shown, not larger than OCR needs."""
    if frame.width * frame.height > ocr.MAX_PIXELS:
        raise ConversionError(_too_large())
    frame.draft("RGB", (ocr.MAX_SIDE, ocr.MAX_SIDE))  # JPEG is decoded smaller
    shown = ImageOps.exif_transpose(frame)
    if shown.mode in ("RGBA", "LA", "PA") or "transparency" in shown.info:
        shown = shown.convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    shown = shown.convert("RGB")
    shown.thumbnail((ocr.MAX_SIDE, ocr.MAX_SIDE), Image.Resampling.LANCZOS)
    pixels: Pixels = np.asarray(shown, np.uint8)
    return pixels


def _too_large() -> str:
    return f"it has more than {ocr.MAX_PIXELS // 10**6} megapixels"
