"""The one door to RapidOCR, whose models come with its package: a picture of text to lines of words with their places.

The models are PP-OCRv6's small ones for detection and recognition; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.types import Box, Page

MAX_SIDE = 2000
"""Pixels of a picture's longer side; larger ones are made smaller first. A4 at 170 dpi."""
MAX_PIXELS = 150_000_000
"""A picture with more is refused before it is decoded: A0 at 300 dpi has 140 million."""
_DETECTION_SIDE = 960
"""Pixels: lines are found in a smaller picture, in a quarter of the time, and read in the larger one."""
_SECONDS_PER_PAGE = 120
"""Of processor time, beyond what a file of its size may take."""

SECONDS_PER_PAGE = 7.0
"""Of a core, for a full page: what a plan reckons with."""
WHOLE_PAGE = Box(0, 0, 0.0, 0.0, 1.0, 1.0)
"""The box of a page that is only counted."""

Pixels = NDArray[np.uint8]
"""(height, width, 3)"""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its left, top, right and bottom in pixels."""

    text: str
    place: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text. `corners`: (4, 2) x and y in pixels, from the top left clockwise. `confidence`: 0..1."""

    text: str
    words: tuple[Word, ...]
    corners: NDArray[np.float64]
    confidence: float


def is_installed() -> bool:
    """Whether the extra `ocr` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


@lru_cache(maxsize=1)
def version() -> str:
    """Of the library, "" without the extra `ocr`."""
    from importlib import metadata

    return metadata.version("rapidocr") if is_installed() else ""


def is_postponed() -> bool:
    """Whether pages that need OCR are only counted, as for a plan."""
    return os.environ.get("SEARCH_INDEX_OCR") == "count"


def counted(page: Page) -> Page:
    """The page, marked as one that needs OCR."""
    return replace(page, boxes=(replace(WHOLE_PAGE, start=page.start),))


def read(picture: Pixels) -> list[TextLine]:
    """The lines of a picture, from top to bottom. Raises ModuleNotFoundError without the extra `ocr`."""
    _allow_time()
    found = _engine()(picture)
    if not found.txts:
        return []
    return list(_lines(found))


def _lines(found: Any) -> Iterator[TextLine]:
    for text, score, corners, words in zip(found.txts, found.scores, found.boxes, found.word_results, strict=True):
        if text.strip():
            placed = tuple(Word(word, _bounds(quad)) for word, _, quad in words if word and quad is not None)
            yield TextLine(text, placed, np.asarray(corners, np.float64), float(score))


def _bounds(quad: Any) -> tuple[float, float, float, float]:
    points = np.asarray(quad, np.float64)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,  # lines upside down
            "Global.return_word_box": True,
            "Global.max_side_len": MAX_SIDE,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECTION_SIDE,
            # As many converters run as there are cores.
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _allow_time() -> None:
    """More processor time for a page where the process has a limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != resource.RLIM_INFINITY:
        more = soft + _SECONDS_PER_PAGE
        resource.setrlimit(resource.RLIMIT_CPU, (more if hard == resource.RLIM_INFINITY else min(more, hard), hard))
