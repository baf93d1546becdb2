"""Text with a marked range as safe HTML: this module escapes every character of a document."""

from __future__ import annotations

import html
import re

# NUL and lone surrogates cannot travel to the browser; one sign for one sign, so that offsets stay true.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


# A line break inside a paragraph: not before a blank line, an indented line, a list item, a table or a heading.
_WRAP = re.compile(r"(?<!\n)\n(?![\s\-*+•·#>|=~`]|\d+[.)])")

LONGEST_WORD = 40

Range = tuple[int, int]
"""Half-open, in characters."""


def escape(text: str) -> str:
    """Escape text for content or a quoted attribute. Line breaks become references: Streamlit dedents HTML."""
    safe = html.escape(_UNPRINTABLE.sub("\ufffd", text), quote=True)
    return safe.replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")


def segments(text: str, start: int, end: int) -> tuple[str, str, str]:
    """The text before, inside and after [start, end), in code points. The range is clipped to the text."""
    first = min(max(start, 0), len(text))
    last = min(max(end, first), len(text))
    return text[:first], text[first:last], text[last:]


def marked(text: str, *ranges: Range) -> str:
    """`text` escaped, with each [start, end) in a <mark>, unless it is empty or outside of the text."""
    pieces, place = [], 0
    for start, end in sorted(ranges):
        _, inside, _ = segments(text, max(start, place), end)
        if inside:
            first = max(start, place, 0)
            pieces += [escape(text[place:first]), f"<mark>{escape(inside)}</mark>"]
            place = first + len(inside)
    return "".join([*pieces, escape(text[place:])])


def excerpt(text: str, start: int, end: int, *, margin: int) -> tuple[str, int, int]:
    """At most `margin` characters either side of [start, end), cut between words and marked with "…".

    Returns the excerpt and the range within it.
    """
    before, inside, after = segments(text, start, end)
    if len(before) > margin:
        kept = before[len(before) - margin :]
        before = "…" + kept[_first_space(kept) :].lstrip()
    if len(after) > margin:
        kept = after[:margin]
        after = kept[: len(kept) - _first_space(kept[::-1])].rstrip() + "…"
    return before + inside + after, len(before), len(before) + len(inside)


def unwrapped(text: str) -> str:
    """Join hard-wrapped lines without moving offsets. Lists and code keep their lines."""
    return _WRAP.sub(" ", text)


def _first_space(text: str) -> int:
    """Position of the first white space; 0 if none is near (languages without spaces, very long words)."""
    found = re.search(r"\s", text[:LONGEST_WORD])
    return found.start() if found else 0
