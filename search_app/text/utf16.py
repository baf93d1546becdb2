"""Places in a text counted in UTF-16 units, as strings of JavaScript, Java and C# count them."""

from __future__ import annotations

import bisect
import re

_WIDE = re.compile("[\U00010000-\U0010ffff]")
"""Characters of two units."""


class Utf16:
    """Converts places of one text between code points and UTF-16 units."""

    def __init__(self, text: str) -> None:
        self._wide = [found.start() for found in _WIDE.finditer(text)]
        self._units = [place + number for number, place in enumerate(self._wide)]

    def of(self, place: int) -> int:
        """A place in code points, in UTF-16 units."""
        return place + bisect.bisect_left(self._wide, place)

    def place(self, units: int) -> int:
        """A place in UTF-16 units, in code points. In the middle of a character, its beginning."""
        return units - bisect.bisect_left(self._units, units)
