"""Lists in a text: the items after a line that ends with a colon are one answer."""

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


def _holds(outer: Span, inner: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
