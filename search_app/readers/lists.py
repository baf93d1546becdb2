"""Lists in a text are one answer: the items after a line that ends with a colon, and those in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from search_app.text.boundaries import MARKER
from search_app.types import Span

MAX_LENGTH = 600
"""Characters of a list that is marked as one answer."""
_ITEM = rf"[ \t]*{MARKER}[^\n]*\S"
_LIST = re.compile(rf"^(?P<intro>[^\n]*:)[ \t]*\n\s*(?P<items>{MARKER}[^\n]*\S(?:\s*\n{_ITEM})*)", re.MULTILINE)

_MOST_WORDS = 4
_WORD = r"[^\s,;:.!?()\[\]\"“”|]+(?:[.:][^\s,;:.!?()\[\]\"“”|]+)*"
_PART = rf"(?!(?:and|or)\s){_WORD}(?:\s{_WORD}){{0,{_MOST_WORDS - 1}}}"
_OTHERS = rf"(?:,\s{_PART})+,?\s(?:and|or)\s{_PART}(?=\s?(?:[.;!?()]|$))"
_OTHERS_AFTER = re.compile(_OTHERS)
_AFTER_COLON = re.compile(rf":\s(?P<items>{_PART}{_OTHERS})")
_BETWEEN = re.compile(r",?\s(?:and|or)\s|,\s")
_STANDS_FOR = re.compile(r"(?:the following|these)(?: \w+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class List:
    """A list: the line before it, which ends with a colon, and all its items."""

    intro: Span
    items: Span


def lists(text: str) -> list[List]:
    """The lists of a text that are not too long for one answer."""
    found = (List(Span(*one.span("intro")), Span(*one.span("items"))) for one in _LIST.finditer(text))
    return [one for one in found if one.items.end - one.items.start <= MAX_LENGTH]


def whole_list(span: Span, known: Iterable[List], *, many: bool) -> Span | None:
    """All items of the list that `span` belongs to, or None.

    A span in the line before the items stands for them ("these documents"); a span in one of them does if the question
    asks for `many`.
    """
    for one in known:
        if _holds(one.intro, span) or (many and _holds(one.items, span)):
            return one.items
    return None


def whole_enumeration(text: str, span: Span, place: Span, *, many: bool) -> Span | None:
    """All of "a towel, soap and a lock" for its first item, or for any of its items if a colon is before it, or None.

    It has at least three items of at most four words, up to the end of a clause, and the question asks for `many`.
    "The following" before the colon stands for the items whatever the question asks for.
    """
    for found in _AFTER_COLON.finditer(text, place.start, place.end):
        items = Span(*found.span("items"))
        if (many and _holds(items, span)) or (span.end == found.start() and _stands_for(text, span)):
            return items
    alone = many and not _BETWEEN.search(text, span.start, span.end)
    others = _OTHERS_AFTER.match(text, span.end, place.end) if alone else None
    return Span(span.start, others.end()) if others and _alike(text[span.start : others.end()]) else None


def _alike(items: str) -> bool:
    """Whether it has the items of one enumeration: the last one is hardly longer than the longest of the others."""
    *first, last = (len(item.split()) for item in _BETWEEN.split(items))
    return max(first) <= _MOST_WORDS and last <= max(first) + 1


def _stands_for(text: str, span: Span) -> bool:
    return bool(_STANDS_FOR.fullmatch(text, span.start, span.end))


def _holds(outer: Span, inner: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
