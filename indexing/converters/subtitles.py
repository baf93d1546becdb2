"""Subtitles (srt, vtt): the sentences that are spoken. A page is a minute of the recording."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError
from indexing.converters.decoding import read_text
from search_app.types import MetaValue, Page

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_CUE = re.compile(rf"^[ \t]*{_TIME}[ \t]+-->[ \t]+{_TIME}[^\n]*\n?", re.MULTILINE)
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]{1,100})>")
_MARKUP = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_PAUSE = 3.0
"""Seconds without speech that end a paragraph, after the end of a sentence."""
_END = (".", "!", "?", "…", "。", "！", "？", '"', "”", "»")


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    text: str
    voice: str


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    raw, warnings = read_text(path, declared=[charset])
    cues = list(_cues(clean(raw)))
    if not cues:
        raise ConversionError("it has no subtitles: no line such as 00:00:01,000 --> 00:00:02,000")
    text, pages = _joined(cues)
    meta: dict[str, MetaValue] = {"duration": _clock(cues[-1].end), "minutes": pages[-1].number}
    yield Content(text, meta=meta, pages=tuple(pages), warnings=warnings)


def _cues(text: str) -> Iterator[_Cue]:
    """In the file's order; equal texts that follow one another, as live captions have them, count once."""
    found = list(_CUE.finditer(text))
    last = ""
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(text)
        lines = _lines(text[match.end() : end], last_cue=index + 1 == len(found))
        spoken = _plain(" ".join(lines))
        if spoken and spoken != last:
            voice = _VOICE.search(lines[0])
            yield _Cue(
                _seconds(match.groups()[:4]), _seconds(match.groups()[4:]), spoken, voice[1].strip() if voice else ""
            )
            last = spoken


def _lines(text: str, *, last_cue: bool) -> list[str]:
    """A cue's lines: up to a blank one, without the number of the next cue."""
    lines = text.split("\n")
    blank = next((index for index, line in enumerate(lines) if index and not line.strip()), len(lines))
    if not last_cue and blank == len(lines) and len(lines) > 1 and lines[-2].strip().isdigit():
        lines = lines[:-2]
    return [line.strip() for line in lines[:blank] if line.strip()] or [""]


def _plain(text: str) -> str:
    return " ".join(html.unescape(_MARKUP.sub("", text)).split())


def _joined(cues: Sequence[_Cue]) -> tuple[str, list[Page]]:
    """Sentences run over cues and pages; a new speaker, or a pause after a sentence, begins a paragraph."""
    parts: list[str] = []
    pages: list[Page] = []
    length = 0
    before: _Cue | None = None
    for cue in cues:
        gap = "" if before is None else "\n\n" if _is_apart(before, cue) else " "
        new_voice = cue.voice if before is None or cue.voice != before.voice else ""
        piece = f"{gap}{new_voice}: {cue.text}" if new_voice else gap + cue.text
        minute = int(cue.start // 60) + 1
        if not pages or minute > pages[-1].number:
            border = length + len(gap)
            if pages:
                pages[-1] = Page(pages[-1].number, pages[-1].start, border)
            pages.append(Page(minute, border, border))
        parts.append(piece)
        length += len(piece)
        before = cue
    pages[-1] = Page(pages[-1].number, pages[-1].start, length)
    return "".join(parts), pages


def _is_apart(before: _Cue, cue: _Cue) -> bool:
    turns = cue.voice != before.voice or cue.text.startswith(("- ", "– ", ">> "))
    return turns or (cue.start - before.end >= _PAUSE and before.text.endswith(_END))


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = (int(group or 0) for group in groups)
    return hours * 3600 + minutes * 60 + seconds + fraction / 1000


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
