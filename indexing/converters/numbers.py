"""Numbers as a sheet shows them: the number formats of Office Open XML (ECMA-376, part 1, 18.8.31).

Dates without a format of their own, which each computer shows in its own way, become `2026-01-31`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache

GENERAL = "General"
BUILT_IN = {
    0: GENERAL, 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: "$#,##0;($#,##0)", 6: "$#,##0;($#,##0)",
    7: "$#,##0.00;($#,##0.00)", 8: "$#,##0.00;($#,##0.00)", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?",
    13: "# ??/??", 14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM",
    20: "h:mm", 21: "h:mm:ss", 22: "yyyy-mm-dd h:mm", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)",
    39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)", 41: "#,##0;-#,##0;-", 42: "$#,##0;-$#,##0;-",
    43: "#,##0.00;-#,##0.00;-", 44: "$#,##0.00;-$#,##0.00;-", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss", 48: "##0.0E+0",
    49: "@", **dict.fromkeys((*range(27, 37), *range(50, 59)), "yyyy-mm-dd"),
}  # fmt: skip
"""The formats that files name by number only."""

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]|(?P<general>General)'
    r"|(?P<half>AM/PM|A/P)|(?P<exponent>E[+-])|(?P<digit>[0#?])|(?P<date>[yY]+|[mM]+|[dD]+|[hH]+|[sS]+|[eEgGbB]+)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_SECTION = re.compile(r'((?:"[^"]*"?|\\.|\[[^\]]*\]|[^;"\\\[])*)(?:;|$)', re.DOTALL)
_CONDITION = re.compile(r"(<=|>=|<>|=|<|>)\s*(-?\d+(?:\.\d+)?)")
_MAX_CODE = 400
_HUGE = 1e21
_DAY_ZERO = dt.datetime(1899, 12, 30)
_1904 = 1462
_LAST_DAY = 2_958_465
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

Token = tuple[str, str]
"""(kind, text): a group of `_TOKEN`, or "elapsed"."""


@dataclass(frozen=True, slots=True)
class _Section:
    tokens: tuple[Token, ...]
    condition: tuple[str, float] | None
    kind: str
    """One of "general", "date", "fraction", "exponent", "number" or "text"."""


def shown(value: float, code: str, *, from_1904: bool = False) -> str:
    """`value` as the format `code` shows it: 0.25 with `0%` is "25%", 45321 with `yyyy-mm-dd` "2024-01-30"."""
    if not math.isfinite(value):
        return ""
    if abs(value) >= _HUGE:
        return general(value)
    sections = _sections(code[:_MAX_CODE])
    section, number = _chosen(sections, value)
    if section.kind == "date":
        return _date(section.tokens, value + (_1904 if from_1904 else 0)) or general(value)
    if section.kind == "general":
        return "".join(general(number) if kind == "general" else _literal(kind, text) for kind, text in section.tokens)
    if section.kind == "text":
        filled = (general(value) if (kind, text) == ("other", "@") else _literal(kind, text)
                  for kind, text in section.tokens)  # fmt: skip
        return "".join(filled)
    try:
        return _RENDERERS[section.kind](section.tokens, Decimal(repr(number)))
    except (InvalidOperation, OverflowError):
        return general(value)


def general(value: float) -> str:
    """A number without a format: no ".0", no noise of binary fractions, all digits of long identifiers."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.10g}".replace("e", "E")


@lru_cache(maxsize=1024)
def _sections(code: str) -> tuple[_Section, ...]:
    found = [match[1] for match in _SECTION.finditer(code)]
    while len(found) > 1 and not found[-1]:
        found.pop()
    return tuple(_section(text) for text in found[:3]) or (_section(GENERAL),)


def _section(code: str) -> _Section:
    tokens: list[Token] = []
    condition = None
    for match in _TOKEN.finditer(code):
        kind = str(match.lastgroup)
        text = match[kind]
        if kind == "bracket":
            if found := _CONDITION.fullmatch(text):
                condition = found[1], float(found[2])
            tokens += _bracket(text)
        else:
            tokens.append((kind, text.lower() if kind == "date" else text))
    kinds = {kind for kind, _ in tokens}
    others = {text for kind, text in tokens if kind == "other"}
    if not code or (code and kinds & {"general"}):
        return _Section(tuple(tokens) or (("general", ""),), condition, "general")
    if kinds & {"date", "elapsed", "half"}:
        return _Section(_with_minutes(tokens), condition, "date")
    if "exponent" in kinds:
        return _Section(tuple(tokens), condition, "exponent")
    if "digit" not in kinds:
        return _Section(tuple(tokens), condition, "text")
    return _Section(tuple(tokens), condition, "fraction" if "/" in others else "number")


def _bracket(text: str) -> Iterator[Token]:
    """`[h]` counts hours beyond a day, `[$€-407]` is a currency; colours and conditions show nothing."""
    if text.lower().strip("hms") == "" and text:
        yield "elapsed", text.lower()
    elif text.startswith("$"):
        yield "quoted", text[1:].partition("-")[0]


def _with_minutes(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """`m` after hours or before seconds means minutes: they get the kind "minute"."""
    places = [index for index, (kind, _) in enumerate(tokens) if kind in ("date", "elapsed")]
    found = list(tokens)
    for position, index in enumerate(places):
        kind, text = tokens[index]
        before = tokens[places[position - 1]][1][0] if position else ""
        after = tokens[places[position + 1]][1][0] if position + 1 < len(places) else ""
        if kind == "date" and text[0] == "m" and (before == "h" or after == "s"):
            found[index] = "minute", text
    return tuple(found)


def _chosen(sections: Sequence[_Section], value: float) -> tuple[_Section, float]:
    """The section for a value, and the number that it shows: a section for negative ones brings its own sign."""
    for section in sections:
        if section.condition is not None and _holds(section.condition, value):
            return section, value
    if any(section.condition for section in sections):
        rest = [section for section in sections if section.condition is None]
        return (rest or sections)[0], value
    if value < 0 and len(sections) > 1:
        return sections[1], -value
    return sections[2 if value == 0 and len(sections) > 2 else 0], value


def _holds(condition: tuple[str, float], value: float) -> bool:
    sign, limit = condition
    return ("=" in sign and value == limit) or ("<" in sign and value < limit) or (">" in sign and value > limit)


def _literal(kind: str, text: str) -> str:
    if kind in ("quoted", "escaped", "other"):
        return text
    return " " if kind == "space" else ""


def _number(tokens: Sequence[Token], value: Decimal) -> str:
    shown = [token for token in tokens if token[0] == "digit" or token[0] == "other"]
    value *= 100 ** sum(text == "%" for kind, text in shown if kind == "other")
    point = next((index for index, token in enumerate(tokens) if token == ("other", ".")), len(tokens))
    whole = [index for index, token in enumerate(tokens[:point]) if token[0] == "digit"]
    parts = [index for index in range(point, len(tokens)) if tokens[index][0] == "digit"]
    if not whole and not parts:
        return ""
    end = (parts or whole)[-1] + 1
    commas = [index for index, token in enumerate(tokens) if token == ("other", ",")]
    scaling = 0
    while end + scaling in commas:
        scaling += 1
    grouped = any(whole and whole[0] < index < whole[-1] for index in commas)
    value = (value / 1000**scaling).quantize(Decimal(1).scaleb(-len(parts)), ROUND_HALF_UP)
    digits, _, decimals = f"{abs(value):f}".partition(".")
    pieces = dict(zip(whole, _whole(digits, [tokens[index][1] for index in whole], grouped), strict=True))
    pieces |= dict(zip(parts, _decimals(decimals, [tokens[index][1] for index in parts]), strict=True))
    if not whole:
        pieces[point] = f"{digits.lstrip('0')}."
    elif not any(pieces[index] for index in parts):
        pieces[point] = ""
    for index in commas:
        if (whole and whole[0] < index < whole[-1]) or end <= index < end + scaling:
            pieces[index] = ""
    text = "".join(pieces.get(index, _literal(*token)) for index, token in enumerate(tokens))
    return f"-{text}" if value < 0 else text


def _whole(digits: str, places: Sequence[str], grouped: bool) -> list[str]:
    """The digits for each placeholder; the first one gets those that are too many."""
    if not places:
        return []
    least = len(places) - next((index for index, place in enumerate(places) if place == "0"), len(places))
    digits = digits.lstrip("0").rjust(least, "0")
    extra = max(0, len(digits) - len(places))
    padded = digits[extra:].rjust(len(places))
    found = [padded[index].strip() for index in range(len(places))]
    found[0] = digits[:extra] + found[0]
    if not grouped:
        return found
    right = len(digits)
    result = []
    for text in found:
        piece = ""
        for digit in text:
            right -= 1
            piece += digit + ("," if right and right % 3 == 0 else "")
        result.append(piece)
    return result


def _decimals(digits: str, places: Sequence[str]) -> list[str]:
    """The digits for each placeholder; zeros at the end are shown for `0` only."""
    found = list(digits.ljust(len(places), "0"))
    for index in range(len(places) - 1, -1, -1):
        if places[index] == "0" or found[index] != "0":
            break
        found[index] = ""
    return found


def _exponent(tokens: Sequence[Token], value: Decimal) -> str:
    place = next(index for index, token in enumerate(tokens) if token[0] == "exponent")
    point = next((index for index, token in enumerate(tokens) if token == ("other", ".")), place)
    decimals = sum(kind == "digit" for kind, _ in tokens[point:place])
    width = sum(kind == "digit" for kind, _ in tokens[place:])
    mantissa, _, power = f"{value:.{decimals}E}".partition("E")
    sign = "-" if power.startswith("-") else "+" if tokens[place][1].endswith("+") else ""
    return f"{mantissa}E{sign}{power.lstrip('+-').rjust(width, '0')}"


def _fraction(tokens: Sequence[Token], value: Decimal) -> str:
    slash = tokens.index(("other", "/"))
    digits = sum(kind == "digit" for kind, _ in tokens[slash:])
    fraction = Fraction(abs(value)).limit_denominator(10 ** min(digits or 1, 4) - 1)
    whole, rest = divmod(fraction.numerator, fraction.denominator)
    parts = [str(whole)] if whole or not rest else []
    parts += [f"{rest}/{fraction.denominator}"] if rest else []
    return ("-" if value < 0 else "") + " ".join(parts)


_RENDERERS = {"number": _number, "exponent": _exponent, "fraction": _fraction}


def _date(tokens: Sequence[Token], serial: float) -> str:
    """The date or time, or "" for a number that is no date."""
    if not 0 <= serial <= _LAST_DAY + 0.999999:
        return ""
    seconds = round(serial * 86_400)
    # Day 60 is 29 February 1900, which never was: days before it are one later.
    moment = _DAY_ZERO + dt.timedelta(seconds=seconds, days=1 if 1 <= serial < 60 else 0)
    halves = any(kind == "half" for kind, _ in tokens)
    return "".join(_date_piece(kind, text, moment, seconds, halves) for kind, text in _without_fractions(tokens))


def _without_fractions(tokens: Sequence[Token]) -> Iterator[Token]:
    """Leaves out `.000` after seconds."""
    point = False
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        point = ((kind, text) == ("other", ".") and following == "digit") or (point and kind == "digit")
        if not point:
            yield kind, text


def _date_piece(kind: str, text: str, moment: dt.datetime, seconds: int, halves: bool) -> str:
    size = len(text)
    if kind == "elapsed":
        unit = {"h": 3600, "m": 60, "s": 1}[text[0]]
        return str(seconds // unit).rjust(size, "0")
    if kind == "half":
        return ("AM" if moment.hour < 12 else "PM")[: 2 if size > 3 else 1]
    if kind == "minute":
        return f"{moment.minute:0{min(size, 2)}}"
    if kind != "date":
        return _literal(kind, text)
    if text[0] == "h":
        hour = (moment.hour - 1) % 12 + 1 if halves else moment.hour
        return f"{hour:0{min(size, 2)}}"
    if text[0] == "s":
        return f"{moment.second:0{min(size, 2)}}"
    if text[0] in "yeb":
        return f"{moment.year:04}" if size > 2 or text[0] != "y" else f"{moment.year % 100:02}"
    if text[0] == "d":
        name = _DAYS[moment.weekday()]
        return f"{moment.day:0{size}}" if size < 3 else name if size > 3 else name[:3]
    if text[0] == "m":
        name = _MONTHS[moment.month - 1]
        return f"{moment.month:0{size}}" if size < 3 else {3: name[:3], 4: name}.get(size, name[:1])
    return ""
