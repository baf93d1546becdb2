"""Characters that no document keeps."""

from __future__ import annotations

import re

_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_JOINED = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
"""Scripts in which a joiner changes letters: Arabic, Syriac, Indic, Tibetan, Burmese, Khmer, Mongolian."""
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Scripts in which a zero-width space parts words: Thai, Lao, Burmese, Khmer."""
_INVISIBLE = re.compile(
    "[\u00ad\u2060\ufeff]"
    f"|\u200b(?![{_SPACELESS}])"
    f"|(?<![{_JOINED}])\u200c+"
    f"|(?<![{_JOINED}\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d+"
)
"""Soft hyphens and zero-width characters that only say where a word may be broken."""


def clean(text: str) -> str:
    """Normalise line ends, drop invisible characters, and replace what no store keeps by U+FFFD: NUL, lone surrogates.

    Joiners stay where they change what is shown: after emoji and in Arabic, Persian and Indic words.
    """
    text = _UNUSABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text if text.isascii() else _INVISIBLE.sub("", text)
