"""Answers to yes/no questions: whole sentences about the thing asked.

A span of a few words may say the opposite of its sentence, and a sentence about another thing the opposite of the right
one. So a sentence is marked whole, and the more of the question's words it has, the better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from search_app.readers.places import place_of, places
from search_app.readers.questions import subject
from search_app.readers.spans import Floats
from search_app.readers.windows import Window
from search_app.text.reading import Reading
from search_app.types import Span


@dataclass(frozen=True, slots=True)
class Mark:
    """A span with its logit. `covered`: words of a yes/no question that its sentence has; of the others it is 0."""

    span: Span
    logit: float
    covered: int = 0


def sentences(
    window: Window, starts: Floats, ends: Floats, read: Reading, asked: frozenset[str], title: frozenset[str]
) -> Iterator[Mark]:
    """Every sentence of a window, with its best start and end logit, in characters of `read.text`.

    `asked` and `title` are what the question and the title are about.
    """
    within = places(read, sentences=True)
    place = place_of(window.offsets, within)
    starts, ends = starts[window.first : window.last], ends[window.first : window.last]
    for index in np.unique(place[place >= 0]).tolist():
        inside = place == index
        logit = float(starts[inside].max() + ends[inside].max())
        yield Mark(within[index], logit, len(asked & (title | subject(_line(read, within[index])))))


def _line(read: Reading, place: Span) -> str:
    """The place, or the line around it if names were put in there: they are part of what a row says."""
    if len(read.kept) == 1:
        return read.text[place.start : place.end]
    end = read.text.find("\n", place.end)
    return read.text[read.text.rfind("\n", 0, place.start) + 1 : end if end >= 0 else len(read.text)]
