"""Lists in a text: the items after a line that ends with a colon are one answer."""

from __future__ import annotations

import re

from search_app.text.boundaries import MARKER
from search_app.types import Span

MAX_LENGTH = 600
"""Characters of a list that is marked as one answer."""
_ITEM = rf"[ \t]*{MARKER}[^\n]*\S"
_LIST = re.compile(rf"(?P<intro>[^\n]*:)[ \t]*\n\s*(?P<items>{MARKER}[^\n]*\S(?:\s*\n{_ITEM})*)")


def whole_list(text: str, span: Span, *, many: bool) -> Span | None:
    """All items of the list that `span` belongs to, or None.

    A span in the line before the items stands for them ("these documents"); a span in one of them does if the question
    asks for `many`.
    """
    for found in _LIST.finditer(text):
        begin, end = found.span("items")
        in_intro = found.start("intro") <= span.start and span.end <= found.end("intro")
        in_items = begin <= span.start and span.end <= end
        if (in_intro or (many and in_items)) and end - begin <= MAX_LENGTH:
            return Span(begin, end)
    return None
