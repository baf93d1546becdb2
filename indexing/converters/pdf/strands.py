"""Text that remembers where each of its characters comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from search_app.types import Box, Run

Place = tuple[float, float, float, float]
"""Left, top, right and bottom, from the top left corner."""


@dataclass(frozen=True, slots=True)
class Source:
    """`length` characters from `start` come from page `page` (from 1).

    They are its characters from `raw`, or at `box`, in shares of the page, if PDFium does not list them.
    """

    start: int
    length: int
    page: int
    raw: int = -1
    box: Place | None = None

    def moved(self, distance: int) -> Source:
        return Source(self.start + distance, self.length, self.page, self.raw, self.box)

    def follows(self, other: Source) -> bool:
        """Whether both are one: the end of `other` is the start of this one, in the text and on the page."""
        return (
            self.raw >= 0
            and other.raw >= 0
            and (self.start, self.page, self.raw) == (other.start + other.length, other.page, other.raw + other.length)
        )


@dataclass(frozen=True, slots=True)
class Strand:
    """A text and the sources of its characters, in order; those in no source were put in."""

    text: str
    sources: tuple[Source, ...] = ()

    def __getitem__(self, part: slice) -> Strand:
        start, end, _ = part.indices(len(self.text))
        found = []
        for source in self.sources:
            first, last = max(start, source.start), min(end, source.start + source.length)
            if first < last:
                raw = source.raw + first - source.start if source.raw >= 0 else -1
                found.append(Source(first - start, last - first, source.page, raw, source.box))
        return Strand(self.text[start:end], tuple(found))


def concatenated(strands: Iterable[Strand]) -> Strand:
    """One strand of several."""
    texts: list[str] = []
    sources: list[Source] = []
    length = 0
    for strand in strands:
        texts.append(strand.text)
        sources += [source.moved(length) for source in strand.sources]
        length += len(strand.text)
    return Strand("".join(texts), tuple(sources))


def runs(sources: Sequence[Source]) -> tuple[Run, ...]:
    """The map from the text to the characters of the page that all sources are on."""
    found: list[Source] = []
    for source in sources:
        if source.raw >= 0 and found and source.follows(found[-1]):
            found[-1] = replace(found[-1], length=found[-1].length + source.length)
        elif source.raw >= 0:
            found.append(source)
    return tuple(Run(source.start, source.raw, source.length) for source in found)


def boxes(sources: Sequence[Source]) -> tuple[Box, ...]:
    """The places on the page of what PDFium does not list."""
    return tuple(Box(source.start, source.length, *source.box) for source in sources if source.box is not None)
