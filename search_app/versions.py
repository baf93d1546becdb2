"""Versions of one document: the newest comes first, and an older one names it.

Two passages are versions if their words are the same but for numbers, and the names of their files and their titles
differ in a year, a date, the number of a version or a word such as "old" alone. Both stay: "What did it cost in 2023?"
is a question for the older one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cmp_to_key

from search_app.types import Hit, Passage

_SAME = 0.8
"""Share of common shingles, numbers left out, from which two texts are versions."""
_SHINGLE = 3
_DATE = re.compile(
    r"(?<!\d)(?:(?P<day>\d\d?)[-_./](?P<month>\d\d?)[-_./](?P<year>(?:19|20)\d\d)"
    r"|(?P<year2>(?:19|20)\d\d)(?:[-_.]?(?P<month2>0[1-9]|1[0-2])(?:[-_.]?(?P<day2>[0-3]\d))?)?)(?![-_.]?\d)"
)
_VERSION = re.compile(
    r"(?<![^\W_])(?:version|ver|revision|rev|edition|issue|v|r)[ ._-]*(?P<number>\d+(?:\.\d+)*)(?![^\W_])"
)
_STATE = re.compile(r"(?<![^\W_])(?:old|older|previous|archived?|backup|copy|draft|final|new|latest|current)(?![^\W_])")
_SIGNS = re.compile(r"[\s._()\-]+")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")


def newest_first(question: str, hits: Sequence[Hit]) -> list[Hit]:
    """The hits with each group of versions in order of age on the group's places; `newer` of the older ones is set.

    The order stays where the question has a number that only some of the versions have.
    """
    placed, passages = list(hits), [hit.passage for hit in hits]

    def by_age(one: int, other: int) -> int:
        return _compared(passages[one], passages[other])

    asked = set(_NUMBER.findall(question))
    for group in _groups(hits):
        ranked = sorted(group, key=cmp_to_key(by_age))
        newest = passages[ranked[0]]
        order = group if _tells_apart(asked, [passages[number] for number in group]) else ranked
        for place, number in zip(group, order, strict=True):
            newer = newest if _compared(newest, passages[number]) < 0 else None
            placed[place] = replace(hits[number], score=hits[place].score, newer=newer)
    return placed


def _groups(hits: Sequence[Hit]) -> list[list[int]]:
    """Places of the hits that are versions of each other, at least two each, ascending."""
    named: dict[tuple[str, str], list[list[int]]] = {}
    for number, hit in enumerate(hits):
        groups = named.setdefault(_name(hit.passage), [])
        for group in groups:
            if all(_are_versions(hits[other].passage, hit.passage) for other in group):
                group.append(number)
                break
        else:
            groups.append([number])
    return [group for groups in named.values() for group in groups if len(group) > 1]


def _name(passage: Passage) -> tuple[str, str]:
    """File and title without what tells versions apart."""
    return _bare(passage.source), _bare(passage.title)


def _bare(text: str) -> str:
    text = text.casefold()
    for pattern in (_DATE, _VERSION, _STATE):
        text = pattern.sub(" ", text)
    return "/".join(filter(None, (_SIGNS.sub(" ", part).strip() for part in re.split(r"[/\\]", text))))


def _are_versions(one: Passage, other: Passage) -> bool:
    if one.source == other.source:
        return False
    ours, theirs = _shingles(one.text), _shingles(other.text)
    return len(ours & theirs) >= _SAME * len(ours | theirs)


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = ["0", *_NUMBER.sub("0", text.casefold()).split(), "0"]
    return frozenset(zip(*(words[start:] for start in range(_SHINGLE)), strict=False))


def _compared(one: Passage, other: Passage) -> int:
    """Below 0 if `one` is newer, above 0 if it is older, 0 if nothing tells."""
    ours, theirs = _marks(one), _marks(other)
    if ours and theirs and ours != theirs:
        return -1 if ours > theirs else 1
    for name in ("date", "modified"):
        mine, its = str(one.meta.get(name) or ""), str(other.meta.get(name) or "")
        if mine and its and mine != its:
            return -1 if mine > its else 1
    return 0


def _marks(passage: Passage) -> list[tuple[int, ...]]:
    """Dates and versions that the name of the file and the title state: (year, month, day), (major, minor)."""
    text = f"{passage.source}\n{passage.title}".casefold()
    dates = [_date(match.groupdict()) for match in _DATE.finditer(text)]
    return dates + [tuple(map(int, match["number"].split("."))) for match in _VERSION.finditer(_DATE.sub(" ", text))]


def _date(found: Mapping[str, str | None]) -> tuple[int, ...]:
    parts = (found[name] or found[f"{name}2"] for name in ("year", "month", "day"))
    return tuple(int(part) for part in parts if part)


def _tells_apart(asked: set[str], passages: Sequence[Passage]) -> bool:
    """Whether a number of the question is in some of the passages, and not in others."""
    numbers = [set(_NUMBER.findall(f"{item.source} {item.title} {item.text}".replace("_", " "))) for item in passages]
    return any(0 < sum(number in found for found in numbers) < len(numbers) for number in asked)
