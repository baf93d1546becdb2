"""Words that are written in several ways: identifiers, versions, dates, numbers with units, hyphenated words.

Each becomes one more word beside its parts, in one form for all its spellings: `8Z-4411/B` is also `8z4411b`, and both
`3 March 2021` and `2021-03-03` are also `20210303`. A joined word has letters, digits and, between digits, `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

RULES = 2
"""Version of the rules for words; an index is searched by the rules that its manifest names. 1: no joined words."""
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar januari janvier enero gennaio janeiro",
            "february feb februar februari fevrier febrero febbraio fevereiro",
            "march mar marz maerz maart mars marzo marco",
            "april apr avril abril aprile",
            "may mai mei mayo maggio maio",
            "june jun juni juin junio giugno junho",
            "july jul juli juillet julio luglio julho",
            "august aug augustus aout agosto",
            "september sep sept septembre septiembre settembre setembro",
            "october oct oktober octobre octubre ottobre outubro",
            "november nov novembre noviembre novembro",
            "december dec dezember decembre diciembre dicembre dezembro",
        ),
        start=1,
    )
    for name in names.split()
}
_UNITS = """
b kb mb gb tb pb kib mib gib tib bit kbit mbit gbit kbps mbps gbps hz khz mhz ghz v kv mv w kw mw gw wh kwh mwh
ma mah va kva ohm m km cm mm um nm ft l ml cl dl hl g kg mg lb lbs oz ms h hr hrs min pm kpa mpa pa bar mbar psi
n kn j kj db px pt dpi ppm rpm fps eur usd gbp chf
"""
_UNIT = frozenset(_UNITS.split())
_FIGURES = dict.fromkeys(("figure", "figures", "figs", "abb", "abbildung"), "fig")

_EDGES = "()[]{}<>.,;:!?\"'*|/\\-\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u2026\u00a7$\u20ac\u00a3%"
_JOINED = re.compile(r"[^\W_]++(?:(?:[-\u2010\u2012\u2013./:@_&\\+=?#~]|://|::|(?<=\d)[,'\u2019](?=\d))[^\W_]++)+")
_SIGNED = re.compile(r"([^\W_]+)\+\+|(?<![^\W_])([a-z])#(?![^\W_])|(?<![^\W_])\.net\b")
_SCHEME = re.compile(r"[a-z]+://(?:www\.)?")
_SEPARATE = re.compile(r"[/@:?=#\\]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*[a-z]?")
_DAY = re.compile(r"(\d{1,2})(?:\.|st|nd|rd|th|er|o)?,?")
_DATES = (
    re.compile(r"\b(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?!\d)"),
    re.compile(r"\b(?P<d>\d{1,2})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<y>\d{4})\b"),
)
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,'\u2019]\d{3})+")
_DOTTED = re.compile(r"\d+(?:\.\d+)+")
_LETTERS_DIGITS = re.compile(r"[^\W\d_]{1,4}(\d{3,})|(\d{3,})[^\W\d_]{1,4}")
_MARK = re.compile(r"(?<=\d)[.:,](?=\d)")
_DROPPED = re.compile(r"[^\w]|(?<!\d)_|_(?!\d)")
_LONGEST = 200
"""Characters: a longer token is data rather than a name."""


def compounds(text: str) -> Iterator[tuple[str, bool]]:
    """The joined words of folded text, and for each whether it is an identifier: one with a digit or a sign."""
    tokens = text.split()
    for place, token in enumerate(tokens):
        if token.isalpha() or len(token) > _LONGEST:
            continue
        word = bare(token)
        if "+" in token or "#" in token or ".net" in token:
            yield from ((name, True) for name in _signed(token))
        if not word.isalpha():
            yield from _beside(tokens, place, word)
            yield from _inside(word)


def bare(token: str) -> str:
    """Without the punctuation around it."""
    return token.strip(_EDGES)


def _signed(token: str) -> Iterator[str]:
    for match in _SIGNED.finditer(token):
        yield f"{match[1]}plusplus" if match[1] else f"{match[2]}sharp" if match[2] else "dotnet"


def _inside(word: str) -> Iterator[tuple[str, bool]]:
    """A token with separators as one word; of a path, an address or a part number, also each of its parts."""
    if match := _LETTERS_DIGITS.fullmatch(word):
        yield match[1] or match[2], False
    for match in _JOINED.finditer(word):
        exact = any(map(str.isdigit, match.group()))
        yield from ((found, exact) for found in dict.fromkeys(_spellings(match.group())))


def _spellings(token: str) -> Iterator[str]:
    token = _SCHEME.sub("", token)
    yield joined(token)
    parts = _SEPARATE.split(token)
    yield from (joined(part) for part in parts if len(parts) > 1 and not part.isalnum())
    yield from map(joined, _DOTTED.findall(token))
    if _THOUSANDS.fullmatch(token):
        yield re.sub(r"\D", "", token)
    for pattern in _DATES:
        for match in pattern.finditer(token):
            yield from _numeric_date(match["y"], int(match["m"]), int(match["d"]), swap=match["s"] == "/")


def _beside(tokens: Sequence[str], place: int, word: str) -> Iterator[tuple[str, bool]]:
    """A number with the word before it (`fig. 3`), the unit after it (`25 GB`) or the day and month before it."""
    if not word[:1].isdigit() or not _NUMBER.fullmatch(word):
        return
    before = tokens[place - 1].rstrip(".") if place else ""
    after = bare(tokens[place + 1]) if place + 1 < len(tokens) else ""
    if before.isalpha() and before not in _MONTHS:
        yield _FIGURES.get(before, before) + joined(word), False
    if after in _UNIT and word[-1].isdigit():
        yield joined(word) + after, True
    if len(word) == 3 and before.isdigit() and len(before) <= 3:
        yield before + word, True  # 10 000
    if len(word) == 4 and word.isdigit():
        yield from ((date, True) for date in _named_date(tokens, place, word))


def _named_date(tokens: Sequence[str], place: int, year: str) -> Iterator[str]:
    """The date that ends with this year: `3 March 2021`, `March 3, 2021`, `3. März 2021`, `3 de marzo de 2021`."""
    words = [token for token in tokens[max(0, place - 4) : place] if token not in ("de", "of", "del")][-2:]
    if len(words) < 2:
        return
    for day, month in (words, reversed(words)):
        number, found = _MONTHS.get(month.rstrip(".,")), _DAY.fullmatch(day)
        if number and found:
            yield from _numeric_date(year, number, int(found[1]), swap=False)


def _numeric_date(year: str, month: int, day: int, *, swap: bool) -> Iterator[str]:
    """As `YYYYMMDD`. With `swap` the day may come first or second, so that both are found."""
    for first, second in dict.fromkeys([(month, day), *([(day, month)] if swap else [])]):
        if 1 <= first <= 12 and 1 <= second <= 31:
            yield f"{year}{first:02}{second:02}"


def joined(token: str) -> str:
    """Without separators; `2.3.1` and `3,5` keep a mark, so that they differ from `231` and `35`."""
    if _THOUSANDS.fullmatch(token) and "." not in token:
        return re.sub(r"\D", "", token)
    return _DROPPED.sub("", _MARK.sub("_", token))
