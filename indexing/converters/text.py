"""Plain text. Underlined lines are headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from indexing.converters.characters import clean
from indexing.converters.content import Content, only_title
from indexing.converters.decoding import read_text
from search_app.types import Heading

_UNDERLINED = re.compile(
    r"^(?P<title>[^\s].{0,199})\n(?P<rule>(?P<mark>[=\-~^\"*+#`'_])(?P=mark){2,})[ \t]*$", re.MULTILINE
)


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    text, warnings = read_text(path, declared=[charset])
    yield plain(text, warnings)


def plain(text: str, warnings: tuple[str, ...]) -> Content:
    """A document of text as it is."""
    text = clean(text)
    headings = underlined_headings(text)
    begins = bool(headings) and not text[: headings[0].start].strip(" \n\t=-~^\"*+#`'_")
    return Content(text, title=only_title(headings) if begins else "", headings=tuple(headings), warnings=warnings)


def underlined_headings(text: str) -> list[Heading]:
    """Find lines with a rule below that is at least as long. Kinds of rules get levels in order of appearance."""
    kinds: list[str] = []
    headings: list[Heading] = []
    for match in _UNDERLINED.finditer(text):
        title, rule = match["title"].rstrip(), match["rule"]
        if len(rule) < len(title) or not any(character.isalnum() for character in title):
            continue
        before = text[max(0, match.start() - 200) : match.start()].splitlines()
        above = before[-1].strip() if before else ""
        overlined = above == rule
        if above and not overlined:
            continue
        kind = match["mark"] + ("^" if overlined else "")
        if kind not in kinds:
            kinds.append(kind)
        start = match.start() - (len(rule) + 1 if overlined else 0)
        headings.append(Heading(kinds.index(kind) + 1, title, max(0, start), match.end()))
    return headings
