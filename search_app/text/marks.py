"""Where the words of a keyword query are in a passage."""

from __future__ import annotations

import re

from search_app.text.analysis import asked, terms
from search_app.types import Span

_TOKEN = re.compile(r"\S+")
_LANGUAGES = ("en", "und")
"""Stems of English, and words as they are."""


def marks(question: str, text: str) -> list[Span]:
    """The tokens of `text` with a word of the question; those that have most of its identifiers, if any has one."""
    wanted = asked(question, _LANGUAGES)
    identifiers = {term for term in wanted if wanted.count(term) > 1}
    tokens = [(match, _terms(match.group())) for match in _TOKEN.finditer(text)]
    most = max((len(identifiers & held) for _, held in tokens), default=0)
    if most:
        return [_bare(match) for match, held in tokens if len(identifiers & held) == most]
    return [_bare(match) for match, held in tokens if held.intersection(wanted)]


def _terms(token: str) -> set[str]:
    return {term for language in _LANGUAGES for term in terms(token, language)}


def _bare(match: re.Match[str]) -> Span:
    """Without the punctuation around it, but with the signs of `C++`."""
    token = match.group()
    left = len(token) - len(token.lstrip("([{\"'\u00ab\u201e\u201c\u2018*"))
    right = len(token.rstrip(")]}\"'\u00bb\u201d\u201c\u2019*.,;:!?"))
    return Span(match.start() + left, match.start() + max(left, right))
