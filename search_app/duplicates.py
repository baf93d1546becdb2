"""Passages with (nearly) the same text take one place in a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from search_app.types import Hit, Passage

SIMILAR = 0.9
"""Share of common shingles (three words in a row; Broder 1997) from which two texts count as one."""
_SHINGLE = 3
_SHORT = 40
_LENGTHS, _DENSE = 0.8, 0.05
"""Least ratio of lengths and greatest difference of cosines with the question for texts that are compared."""
_PATH = " \u203a "
"""Between the headings of a title path."""
BOILERPLATE = 5
"""A text in documents of so many titles is a part of their form, such as a footer."""


class _Group:
    """A hit and the later ones with its text."""

    def __init__(self, hit: Hit) -> None:
        self.hit = hit
        self.others: list[Passage] = []

    @cached_property
    def _words(self) -> list[str]:
        return self.hit.passage.text.casefold().split()

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        return frozenset(self._words)

    @cached_property
    def _shingles(self) -> frozenset[tuple[str, ...]]:
        return frozenset(zip(*(self._words[start:] for start in range(_SHINGLE)), strict=False))

    def is_like(self, other: _Group) -> bool:
        """Texts whose numbers or codes differ are never alike: the difference may be the point."""
        if not _may_be_alike(self.hit, other.hit):
            return False
        ours, theirs = self._vocabulary, other._vocabulary
        if min(len(ours), len(theirs)) < SIMILAR * max(len(ours), len(theirs)):
            return False
        differing = ours ^ theirs
        if len(differing) > (1 - SIMILAR) * len(ours | theirs) or any(map(_has_digit, differing)):
            return False
        if not differing and self._words == other._words:
            return True
        both = len(self._shingles & other._shingles)
        return both >= SIMILAR * len(self._shingles | other._shingles) > 0

    def folded(self) -> Hit:
        """The newest of those with the title of the best one, and the others as `also`."""
        if not self.others:
            return self.hit
        best = self.hit.passage
        shown = max(
            [best, *(other for other in self.others if other.title == best.title)], key=lambda passage: passage.date
        )
        also = tuple(passage for passage in (best, *self.others) if passage is not shown)
        return replace(self.hit, passage=shown, also=also)


def folded(hits: Sequence[Hit], k: int) -> list[Hit]:
    """The first k hits of different text, in their order."""
    groups: list[_Group] = []
    known: dict[tuple[str, str], _Group] = {}
    for hit in hits:
        key = _key(hit.passage)
        group = known.get(key)
        if group is None and len(groups) < k:
            new = _Group(hit)
            group = next((other for other in groups if other.is_like(new)), None)
            known[key] = group or new
            if group is None:
                groups.append(new)
        if group is not None:
            group.others.append(hit.passage)
    return [group.folded() for group in groups]


def without_boilerplate_first(hits: Sequence[Hit]) -> list[Hit]:
    """By score, where a text that documents of many titles have counts half."""
    if len({hit.passage.text for hit in hits}) > len(hits) - BOILERPLATE + 1:
        return list(hits)
    titles: dict[str, set[str]] = {}
    for hit in hits:
        titles.setdefault(hit.passage.text, set()).add(hit.passage.title.split(_PATH)[0])
    if not any(len(found) >= BOILERPLATE for found in titles.values()):
        return list(hits)
    counted = [
        replace(hit, score=hit.score / 2) if len(titles[hit.passage.text]) >= BOILERPLATE else hit for hit in hits
    ]
    return sorted(counted, key=lambda hit: -hit.score)


def _may_be_alike(one: Hit, other: Hit) -> bool:
    """Quickly: nearly the same text has nearly the same length and vector."""
    ours, theirs = len(one.passage.text), len(other.passage.text)
    if min(ours, theirs) < _LENGTHS * max(ours, theirs) or _key(one.passage)[0] != _key(other.passage)[0]:
        return False
    dense = [hit.scores["dense"] for hit in (one, other) if "dense" in hit.scores]
    return len(dense) < 2 or abs(dense[0] - dense[1]) < _DENSE


def _key(passage: Passage) -> tuple[str, str]:
    """A short text counts with its title: `20 EUR` is not the same everywhere."""
    return (passage.title if len(passage.text) < _SHORT else "", passage.text)


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
