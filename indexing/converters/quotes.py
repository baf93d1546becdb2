"""Where the text of a mail ends and that of the mails that it answers or forwards begins.

By lines, in linear time. Quotes between the lines of an answer stay where they are: the answer needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search_app.types import Heading

_VERBS = (
    r"wrote|schrieb|a écrit|escribió|ha scritto|escreveu|schreef|skrev|napisał(?:a|\(a\))?|kirjoitti|writes|"
    r"написал(?:а)?|写道|のメール"
)
_ATTRIBUTION = re.compile(rf"^.{{0,300}}?\b(?:{_VERBS})\b.{{0,120}}[:：]$", re.IGNORECASE | re.DOTALL)
_ATTRIBUTION_LINES = 4
_WRAPPED = re.compile(r"(?:On|Am|Le|El|Il|Em|Op|Den|Dnia|W dniu)\b")
_FROM = re.compile(
    r"^\W{0,4}(?:from|von|de|da|van|fra|från|od|lähettäjä|от)\W{0,4}\s?[:：]\W{0,4}\s?(\S.*)$", re.IGNORECASE
)
_FIELD = re.compile(
    r"^\W{0,4}(?:sent|date|to|cc|subject|reply-to|gesendet|datum|an|betreff|envoyé|à|objet|enviado(?: el)?|fecha|para|"
    r"asunto|assunto|inviato|data|a|oggetto|verzonden|aan|onderwerp|skickat|till|ämne|sendt|til|emne|wysłano|do|temat)"
    r"\W{0,4}\s?[:：]",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"^\W{0,4}(?:sent|date|gesendet|datum|envoyé|enviado(?: el)?|fecha|inviato|data|verzonden|skickat|sendt|wysłano)"
    r"\W{0,4}\s?[:：]\W{0,4}\s?(.*)$",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"^\W{0,4}(?:subject|betreff|objet|asunto|assunto|oggetto|onderwerp|ämne|emne|temat)\W{0,4}\s?[:：]", re.IGNORECASE
)
_SEPARATOR = re.compile(
    r"^[>\s]*(?:-{2,}\s*(?P<kind>[^-\n]{3,60}?)\s*-{2,}|_{20,}|-{20,}|(?P<apple>begin forwarded message|"
    r"anfang der weitergeleiteten nachricht|début du message réexpédié)\s?:)\s*$",
    re.IGNORECASE,
)
_FORWARDED = re.compile(r"forward|weitergeleitet|transféré|réexpédié|reenviado|inoltrato|doorgestuurd", re.IGNORECASE)
_ORIGINAL = re.compile(
    r"original|ursprüngliche|urspr\.|message d'origine|mensaje original|messaggio originale|oorspronkelijk",
    re.IGNORECASE,
)
_FIELDS_WITHIN = 8
_MAX_LEVELS = 50
FORWARDED = "Forwarded"
"""Begins the title of a forwarded mail, which is a text of its own. Quotes belong to the answer above them."""


@dataclass(frozen=True, slots=True)
class Part:
    """The mail's own text has no `title`; a quoted or forwarded mail has one such as "Quoted: Ada, 3 May 2024"."""

    title: str
    text: str


def parts(text: str) -> list[Part]:
    """The mail's own text, then the mails that it quotes, newest first."""
    found: list[Part] = []
    title = ""
    for _ in range(_MAX_LEVELS):
        lines = text.strip("\n").split("\n")
        own, next_title, rest = _split(lines, _header_lines(lines) if title else 0)
        found.append(Part(title, own))
        if not next_title:
            return found
        title, text = next_title, rest
    return [*found, Part(title, text)]


def headings(text: str) -> list[Heading]:
    """The lines that begin a forwarded mail in a text without `>`, such as that of HTML, as headings."""
    found: list[Heading] = []
    lines, start, skip = text.split("\n"), 0, 0
    for index, line in enumerate(lines):
        title = _title_at(lines, index) if line.strip() and index >= skip else ""
        if title.startswith(FORWARDED):
            found.append(Heading(1, title, start, start + len(line)))
            skip = index + 1 + _header_lines(lines[index + 1 :] if _SEPARATOR.match(line) else lines[index:])
        start += len(line) + 1
    return found


def _title_at(lines: Sequence[str], index: int) -> str:
    following = [line for line in lines[index : index + 2 * _FIELDS_WITHIN] if line.strip()]
    if match := _SEPARATOR.match(lines[index]):
        return _separated(match, following[1:])
    if _ATTRIBUTION.match(lines[index]) and re.search(r"[\d@]", lines[index]):
        return _title("Quoted", lines[index].rstrip(":： "))
    return header_title(following)


def _separated(match: re.Match[str], following: Sequence[str]) -> str:
    """The title of the mail below a line such as "---- Original message ----"; "" for another line of dashes."""
    kind = match["kind"] or match["apple"] or ""
    forwarded = bool(_FORWARDED.search(kind))
    title = header_title(following, forwarded=forwarded)
    return title or (_title(FORWARDED if forwarded else "Quoted", "") if forwarded or _ORIGINAL.search(kind) else "")


def header_title(lines: Sequence[str], *, forwarded: bool = False) -> str:
    """The title of a quoted mail that begins with lines `From: …`, `Sent: …`; "" if they do not."""
    sender = _FROM.match(lines[0]) if lines else None
    fields = [line for line in lines[1:_FIELDS_WITHIN] if _FIELD.match(line)]
    if sender is None or len(fields) < 2 or not ("@" in sender[1] or any(map(_SUBJECT.match, fields))):
        return ""
    date = next((match[1] for line in fields if (match := _DATE.match(line))), "")
    return _title(FORWARDED if forwarded else "Quoted", ", ".join(filter(None, (sender[1], date))))


def _header_lines(lines: Sequence[str]) -> int:
    """How many of the lines are the header of a quoted mail."""
    if not header_title([line for line in lines[: 2 * _FIELDS_WITHIN] if line.strip()]):
        return 0
    return next((index for index, line in enumerate(lines) if line.strip() and not _is_field(line)), len(lines))


def _is_field(line: str) -> bool:
    return bool(_FIELD.match(line) or _FROM.match(line))


def _split(lines: Sequence[str], first: int) -> tuple[str, str, str]:
    """Own text, and title and text of what it quotes from line `first`; the last two are "" without a quote."""
    for index in range(first, len(lines)):
        line = lines[index]
        if match := _SEPARATOR.match(line):
            following = [item for item in lines[index + 1 : index + 1 + _FIELDS_WITHIN * 2] if item.strip()]
            if title := _separated(match, following):
                return _text(lines[:index]), title, _text(lines[index + 1 :])
        elif title := header_title([item for item in lines[index : index + _FIELDS_WITHIN] if item.strip()]):
            return _text(lines[:index]), title, _text(lines[index:])
        elif found := _attributed(lines, index):
            return found
    return _text(lines), "", ""


def _attributed(lines: Sequence[str], index: int) -> tuple[str, str, str] | None:
    """A quote after a line such as "On 3 May, Ada wrote:", up to the end or to the answer below it."""
    joined, end = _attribution(lines, index)
    if not joined:
        return None
    start = next((place for place in range(end, len(lines)) if lines[place].strip()), len(lines))
    if start == len(lines) or not lines[start].startswith(">"):
        return None
    stop = start
    while stop < len(lines) and (lines[stop].startswith(">") or not lines[stop].strip()):
        stop += 1
    if any(line.startswith(">") for line in (*lines[:index], *lines[stop:])):
        return None  # an answer between the lines of a quote
    quoted = [line[1:].removeprefix(" ") if line.startswith(">") else line for line in lines[start:stop]]
    return _text([*lines[:index], *lines[stop:]]), _title("Quoted", joined.rstrip(":： ")), _text(quoted)


def _attribution(lines: Sequence[str], index: int) -> tuple[str, int]:
    """The line that names who wrote the quote, which may be wrapped, and where it ends; ("", 0) if there is none."""
    joined = ""
    for end in range(index, min(index + _ATTRIBUTION_LINES, len(lines))):
        line = lines[end].strip()
        if not line or line.startswith(">") or (end > index and not _WRAPPED.match(lines[index])):
            break
        joined = f"{joined} {line}".strip()
        if _ATTRIBUTION.match(joined):
            return joined, end + 1
    return "", 0


def _title(kind: str, what: str) -> str:
    what = " ".join(what.replace("*", "").split())[:150]
    return f"{kind}: {what}" if what else f"{kind} mail"


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n")


def unwrapped(text: str) -> str:
    """The paragraphs of `format=flowed`: a line that ends with a space goes on in the next one (RFC 3676)."""
    return "\n".join(_joined(text.split("\n")))


def _joined(lines: Sequence[str]) -> Iterator[str]:
    waiting = ""
    for line in lines:
        depth = len(line) - len(line.lstrip(">"))
        if waiting and not line.startswith(">"):
            line = waiting + line.removeprefix(" ")
        elif waiting:
            yield waiting.rstrip()
        waiting = ""
        if line.endswith(" ") and line != "-- " and not depth:
            waiting = line
        else:
            yield line
    if waiting:
        yield waiting.rstrip()
