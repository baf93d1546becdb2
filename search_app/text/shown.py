"""Text of a document as one line that people read."""

from __future__ import annotations

import re

_BROKEN = re.compile(r"([^\W\d_]{2,})[-\u2010]\n\s*(?=([^\W\d_]{2,}))")
"""A word with a hyphen at the end of a line, and what follows on the next."""


def shown(text: str, around: str = "") -> str:
    r"""One line, without the hyphens that broke a word at the end of a line.

    A hyphen stays before a capital, and where the first part is a word of `around` and the two parts together are not:
    "long-\nterm".
    """
    known = frozenset(re.findall(r"[^\W\d_]+", _BROKEN.sub(" ", around or text).casefold()))
    return " ".join(_BROKEN.sub(lambda found: _joined(found, known), text).split())


def _joined(found: re.Match[str], known: frozenset[str]) -> str:
    first, whole = found[1].casefold(), (found[1] + found[2]).casefold()
    stays = found[2][0].isupper() or (first in known and whole not in known)
    return f"{found[1]}-" if stays else found[1]
