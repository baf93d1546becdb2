"""The places of a text in which an answer may be marked: cells, items, paragraphs. No answer runs out of its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from search_app.text.boundaries import BOUNDARY
from search_app.text.reading import Reading
from search_app.types import Span

NOWHERE = -1
"""The place of a token that was put in for the reader, as the name of a column is."""
_FIELD = re.compile(r"[^\W\d_][^:.\n]{0,40}:[ \t]+\S")
"""A line of a record: a name and a value."""


def places(reading: Reading, *, sentences: bool = False) -> list[Span]:
    """The places, in order: parts of `reading.text` that come from one cell, item or paragraph, or from one sentence.

    None has white space at its ends.
    """
    ends = _ends_sentence if sentences else _ends_place
    return [place for start, _, length in reading.kept for place in _cut(reading.text, start, start + length, ends)]


def place_of(offsets: NDArray[np.int64], within: Sequence[Span]) -> NDArray[np.int64]:
    """The index of each token's place, (tokens,), or NOWHERE; `offsets`, (tokens, 2), are characters of the text.

    A token counts where its last character is, because some tokenizers give it the space before it.
    """
    starts = np.array([place.start for place in within], dtype=np.int64)
    ends = np.array([place.end for place in within], dtype=np.int64)
    place = np.searchsorted(starts, offsets[:, 1] - 1, side="right") - 1
    inside = (place >= 0) & (offsets[:, 1] <= np.append(ends, -1)[place])
    return np.where(inside, place, NOWHERE)


def _ends_place(text: str, found: re.Match[str]) -> bool:
    return found.lastgroup in ("paragraph", "item") or ("\n" in found[0] and bool(_FIELD.match(text, found.end())))


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    return found.lastgroup == "sentence" or _ends_place(text, found)


def _cut(text: str, start: int, end: int, ends: Callable[[str, re.Match[str]], bool]) -> Iterator[Span]:
    for found in BOUNDARY.finditer(text, start, end):
        if ends(text, found):
            yield from _trimmed(text, start, found.end())
            start = found.end()
    yield from _trimmed(text, start, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    part = text[start:end]
    if part.strip():
        yield Span(start + len(part) - len(part.lstrip()), start + len(part.rstrip()))
