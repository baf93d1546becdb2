"""Make of the tokens that a reader picked what a person would mark: whole words, with unit, sign, article and title.

All functions take and return characters of the text that was read, and stay within the place of the answer.
"""

from __future__ import annotations

import re

from search_app.readers.questions import is_empty
from search_app.types import Span

_PAIRS = dict(zip("([{“‘«\"'<", ")]}”’»\"'>", strict=True))
_AFTER = ".,;:!?…" + "".join(_PAIRS.values())
_INITIALS = re.compile(r"(?:\b\w\.){2,}$")
_POSSESSIVE = re.compile(r"['’]s?$")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
"""Scripts that put no space between words: there, a word may begin or end anywhere."""
_DASH = "—"

_CURRENCY = r"(?:[€$£¥₹]|[A-Z]{1,3}\$|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|ZAR)"
_BEFORE_NUMBER = re.compile(rf"(?:(?<!\S)[±+−<>≤≥~≈]|(?<!\w){_CURRENCY})[ \u00a0\u202f]?$")
_UNIT = re.compile(
    r"[ \u00a0\u202f]?"
    rf"(?:%|‰|°[CF]?|{_CURRENCY}|percent|per cent"
    r"|(?:[kKMGTmµμcdhn]?(?:m|g|l|W|Wh|V|Ah|Hz|J|N|Pa|B|bit|mol)|t|s|h|ha|min|ft|mi|lb|lbs|oz|mph|rpm|dB|bar|kn|[KMGTP]iB"
    r"|[kKMG]bit)[²³23]?(?:/(?:s|h|min|m[²³]?|km|kg|l))?"
    r"|(?:hundred|thousand|million|billion|trillion)"
    r"|(?:milli|micro|nano)?seconds?|minutes?|hours?|days?|weeks?|months?|years?"
    r"|(?:kilo|centi|milli)?met(?:re|er)s?|kilograms?|grams?|tonnes?|tons?|lit(?:re|er)s?|miles?|feet|foot|inch(?:es)?|pounds?"
    r"|euros?|dollars?|cents|degrees?(?: (?:Celsius|Fahrenheit))?|watts?|volts?)(?![\w/]|[.,]\d)"
)  # fmt: skip
_YEAR = re.compile(r"(?<![\d,.])(?:1[5-9]|20)\d\d$")
_NUMBER_END = re.compile(r"\d$|(?:hundred|thousand|million|billion)$")
_TITLE = re.compile(r"(?<!\w)(?:Dr|Prof|Mr|Mrs|Ms)\.? $")
_LONGEST_LEAD = 8
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?)"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_WHOLE_DATE = re.compile(rf"(?<!\w)(?:{_DAY} (?:of )?{_MONTH}(?:,? \d{{4}})?|{_MONTH} {_DAY}(?:, ?| )\d{{4}})(?!\w)")
_DATE_PART = re.compile(rf"{_DAY} (?:of )?{_MONTH}|{_MONTH} (?:{_DAY}|\d{{4}})")
"""A day without its year, or a month with its year."""
_LONGEST_DATE = 24
_FLAGS = re.compile(r"(?: (?:--[a-z][\w-]+|-[A-Za-z])(?:=\S*\w)?)+(?![\w-])")
"""Options that follow a command."""
_CODE = re.compile(r"(?<![\w`])`[^`\n]{1,80}`(?![\w`])")
_ARTICLE = re.compile(r"(?<!\w)(?:[Tt]he|[Aa]n?) $")
"""Before a word in lower case: a name can do without it."""


def complete(text: str, span: Span, place: Span) -> Span | None:
    """The span with whole words, unit, sign, article and title; None if nothing worth marking is in it."""
    span = _whole_words(text, span, place)
    span = _with_unit(text, span, place)
    span = _with_lead(text, span, place)
    span = _whole_date(text, span, place)
    span = _whole_command(text, span, place)
    return None if is_empty(text[span.start : span.end]) else span


def _whole_words(text: str, span: Span, place: Span) -> Span:
    """To the white space around, without the punctuation there: addresses, numbers and part numbers are whole."""
    start, end = span.start, span.end
    while start > place.start and _joins(text[start - 1], text[start]):
        start -= 1
    while end < place.end and _joins(text[end], text[end - 1]) and not _begins_note(text, end):
        end += 1
    if (possessive := _POSSESSIVE.search(text, start, end)) and possessive.start() >= span.end:
        end = possessive.start()
    return _bare(text, start, end)


def _joins(outer: str, inner: str) -> bool:
    return not outer.isspace() and outer != _DASH != inner and not _UNSPACED.match(outer) and not _UNSPACED.match(inner)


def _begins_note(text: str, at: int) -> bool:
    """A bracket right after the end of a sentence, as in `a debt.[2]`."""
    return text[at] == "[" and text[at - 1] in _AFTER


def _bare(text: str, start: int, end: int) -> Span:
    """Without punctuation at its end, and without quotes and brackets unless they open and close inside."""
    while start < end:
        inside = text[start:end]
        if inside[0].isspace() or (inside[0] in _PAIRS and _PAIRS[inside[0]] not in inside[1:-1]):
            start += 1
        elif inside[-1].isspace() or (inside[-1] in _AFTER and not _INITIALS.search(inside) and not _opened(inside)):
            end -= 1
        else:
            break
    return Span(start, end)


def _opened(inside: str) -> bool:
    """Whether it ends with the second half of a pair that opens inside of it."""
    return any(close == inside[-1] and open in inside[1:-1] for open, close in _PAIRS.items())


def _with_unit(text: str, span: Span, place: Span) -> Span:
    end = span.end
    if _YEAR.search(text, span.start, end):
        return span
    while _NUMBER_END.search(text, span.start, end) and (unit := _UNIT.match(text, end, place.end)):
        end = unit.end()
    return Span(span.start, end)


def _whole_date(text: str, span: Span, place: Span) -> Span:
    """With the year after a day, and the day before a month and its year."""
    if not _DATE_PART.fullmatch(text, span.start, span.end):
        return span
    low, high = max(place.start, span.start - _LONGEST_DATE), min(place.end, span.end + _LONGEST_DATE)
    return _around(span, _WHOLE_DATE, text, low, high) or span


def _whole_command(text: str, span: Span, place: Span) -> Span:
    """With the options after a command; all of what is between backticks."""
    line = Span(max(place.start, text.rfind("\n", 0, span.start) + 1), _line_end(text, span.end, place))
    code = _around(span, _CODE, text, line.start, line.end)
    if code:
        return Span(code.start + 1, code.end - 1)
    flags = _FLAGS.match(text, span.end, place.end)
    return Span(span.start, flags.end()) if flags else span


def _around(span: Span, pattern: re.Pattern[str], text: str, low: int, high: int) -> Span | None:
    """The first match in [low, high) that holds the span."""
    found = (one for one in pattern.finditer(text, low, high) if one.start() <= span.start and span.end <= one.end())
    return next((Span(*one.span()) for one in found), None)


def _line_end(text: str, start: int, place: Span) -> int:
    end = text.find("\n", start, place.end)
    return end if end >= 0 else place.end


def _with_lead(text: str, span: Span, place: Span) -> Span:
    """With the sign or currency before a number, the title before a name, or the article before a word."""
    first = text[span.start : span.start + 1]
    lead = _BEFORE_NUMBER if first.isdigit() else _TITLE if first.isupper() else _ARTICLE
    found = lead.search(text, max(place.start, span.start - _LONGEST_LEAD), span.start)
    return Span(found.start(), span.end) if found else span
