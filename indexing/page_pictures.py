"""Pictures of the pages of files, for people who look something up: drawn in a sandbox, one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from indexing import formats
from indexing.converters.content import ConversionError
from indexing.converters.drawing import Marks
from indexing.sandbox import Limits, Sandbox
from search_app.types import Page

LIMITS = Limits(seconds=10, seconds_per_megabyte=0.1)
_PATIENCE = 30.0
"""Seconds to wait for the pages that others asked for."""


class Busy(Exception):
    """Too many pages are waiting to be drawn."""


def can_draw(name: str) -> bool:
    """Whether the pages of a file of this name can be drawn."""
    kind = formats.format_of(name)
    return kind is not None and bool(formats.BY_NAME[kind].drawer)


class PagePictures:
    """Safe to use from any number of threads. The process starts with the first picture, and ends with `close`."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    def draw(self, path: Path, size: int, page: Page, *, start: int, end: int, width: int) -> bytes:
        """A page as a PNG of at most `width` pixels, with the characters [start, end) of the document marked.

        `size` is that of the file in bytes. Raises ConversionError, FileNotFoundError and Busy.
        """
        kind = formats.format_of(path.name)
        if kind is None or not can_draw(path.name):
            raise ConversionError("its pages cannot be drawn")
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Busy
        try:
            self._sandbox = self._sandbox or Sandbox(self._limits)
            marks = marks_on(page, start, end)
            return self._sandbox.draw(path, kind, size, page=page.number, width=width, marks=marks)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
            self._sandbox = None


def marks_on(page: Page, start: int, end: int) -> Marks:
    """Where the characters [start, end) of the document are on its page: boxes of a scan, characters of the page."""
    places = [
        (box.left, box.top, box.right, box.bottom)
        for box in page.boxes
        if box.start < end and box.start + box.length > start
    ]
    characters = []
    for run in page.runs:
        first, last = max(start, run.start), min(end, run.start + run.length)
        if first < last:
            characters.append((run.raw_start + first - run.start, last - first))
    return Marks(places, characters)
