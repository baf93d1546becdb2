"""The encoding of text that nothing states: chardet's candidates, weighed by what they make of the text."""

from __future__ import annotations

import re
import unicodedata

import chardet

_CANDIDATES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp932",
    "euc_jis_2004", "shift_jis_2004", "gb18030", "cp950", "big5hkscs", "cp949", "euc_kr", "koi8-r", "koi8-u",
    "iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15", "cp437", "cp850", "cp852", "cp866",
    "mac_roman", "mac_cyrillic", "mac_latin2",
)  # fmt: skip
_WEIGHTS = {
    "windows-1252": 1.3, "iso-8859-1": 1.3, "iso8859-15": 1.1, "macroman": 0.97, "maccyrillic": 0.9, "maclatin2": 0.85,
    "cp437": 0.9, "cp850": 0.95, "cp852": 0.9, "ibm866": 0.95,
}  # fmt: skip
"""How common an encoding is where nothing states it. Measured on translations into 33 languages."""
_SIGNS = frozenset("°±µ§©®€«»“”„‘’–—…•\u00a0")
"""Common signs of which most code pages of Windows have the same bytes."""
_IN_WORDS = frozenset("’‑·–—")
_STATED = re.compile(rb"charset|coding", re.IGNORECASE)
"""Words with which a file states its encoding, which chardet would believe."""
_IDEOGRAPHS = "\u2e80"
DEFAULT = "windows-1252"
"""For what nothing else fits."""


def scores(data: bytes) -> dict[str, float]:
    """Encodings that `data` can be decoded with, by how well they fit."""
    western = data.decode("cp1252", "replace")
    if plausibility(western) == 1 and all(character.isascii() or character in _SIGNS for character in western):
        return {DEFAULT: 1.0}
    found: dict[str, float] = {}
    for candidate in chardet.detect_all(
        _STATED.sub(b"", data), include_encodings=_CANDIDATES, no_match_encoding="cp1252", ignore_threshold=True
    ):
        name = str(candidate["encoding"] or DEFAULT).lower()
        name = DEFAULT if name == "iso-8859-1" and "\ufffd" not in western else name
        try:
            fit = candidate["confidence"] * _WEIGHTS.get(name, 1) * plausibility(data.decode(name)) ** 2
        except (UnicodeDecodeError, LookupError):
            continue
        found[name] = max(fit, found.get(name, 0))
    return found


def plausibility(text: str) -> float:
    """From 1 to 0: the share of characters beyond ASCII that are where a writer would put them."""
    beyond = [match.start() for match in re.finditer(r"[^\x00-\x7f]", text)]
    if not beyond:
        return 1.0
    return 1 - sum(_is_odd(text, place) for place in beyond) / len(beyond)


def _is_odd(text: str, place: int) -> bool:
    """Controls, signs inside of words, capitals after small letters, letters of two scripts in one word."""
    character, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    if character >= _IDEOGRAPHS:
        return any(beside.isascii() and beside.isalpha() for beside in (before, after))
    if character < "\xa0":
        return True
    if not character.isalnum():
        return before.isalpha() and after.isalpha() and character not in _IN_WORDS
    if character.isupper() and before.islower():
        return True
    cased = character.lower() != character.upper()
    return cased and before.isascii() and before.isalpha() and not unicodedata.name(character, "").startswith("LATIN")
