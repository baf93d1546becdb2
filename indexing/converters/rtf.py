"""RTF by striprtf, which drops headings, notes, headers and footers: they are marked before, or read apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from indexing.converters.content import Content, ConversionError, TextBuilder, only_title, plain_meta
from indexing.converters.tables import Line

_CELL, _ROW, _LEVEL = "\ue000", "\ue001", "\ue010"
"""Private characters that stand for the end of a cell and of a row, and for the level of a heading."""
_APART = re.compile(
    r"\{\\(?:\*\\)?(header[lrf]?|footer[lrf]?|footnote|annotation|atnauthor|title|author|creatim|pict|objdata|"
    r"themedata|datastore)\b ?"
)
_NOTES = {"footnote": "Footnote: ", "annotation": "Comment: "}
_TIME = re.compile(r"\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})")
_DEEPEST = 9


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    yield content(path.read_bytes())


def content(data: bytes) -> Content:
    """The document of the bytes of an RTF file. Raises ConversionError."""
    source = data.decode("latin-1")
    if not source.lstrip().startswith("{\\rtf"):
        raise ConversionError("it is not an RTF file")
    body, apart = _separated(source)
    head = _head(source)
    builder = TextBuilder()
    for kind in ("header", "body", "footer"):
        if kind == "body":
            _append(_plain(_marked(body)), builder)
        else:
            for text in dict.fromkeys(
                _plain(head + part + "}").strip() for name, part in apart if name.startswith(kind)
            ):
                builder.block(text)
    for name, part in apart:
        if name in _NOTES and (text := " ".join(_plain(head + part + "}").split())):
            builder.block(_NOTES[name] + text)
    meta = plain_meta(_meta(head, apart))
    title = str(meta.get("title") or only_title(builder.headings))
    return Content(builder.text(), title, meta, tuple(builder.headings), tables=tuple(builder.tables))


def _plain(source: str) -> str:
    from striprtf import striprtf

    try:
        text = str(striprtf.rtf_to_text(source, errors="replace"))  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, IndexError, TypeError, AttributeError) as error:
        raise ConversionError(f"it cannot be read as RTF: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _head(source: str) -> str:
    """What states the encoding and the fonts, for parts that are read apart."""
    end = source.find("{\\stylesheet")
    fonts = source.find("{\\fonttbl")
    end = end if end > 0 else (_group_end(source, fonts) if fonts > 0 else source.find("\\pard"))
    return source[: max(end, 6)]


def _separated(source: str) -> tuple[str, list[tuple[str, str]]]:
    """The text without headers, footers, notes and properties, and these: (name, source)."""
    found: list[tuple[str, str]] = []
    kept: list[str] = []
    place = 0
    for match in _APART.finditer(source):
        if match.start() < place:
            continue
        end = _group_end(source, match.start())
        kept.append(source[place : match.start()])
        found.append((match[1], source[match.end() : end - 1]))
        place = end
    kept.append(source[place:])
    return "".join(kept), found


def _group_end(source: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(source, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] == "}":
            return match.end()
    return len(source)


def _marked(source: str) -> str:
    source = re.sub(r"\\(nest)?cell(?![a-z])", rf"\\u{ord(_CELL) - 65536}?\\cell", source)
    source = re.sub(r"\\(nest)?row(?![a-z])", rf"\\u{ord(_ROW) - 65536}?\\row", source)
    return re.sub(r"(\\outlinelevel)(\d)(?!\d)", lambda match: f"\\u{ord(_LEVEL) + int(match[2]) - 65536}?", source)


def _append(text: str, builder: TextBuilder) -> None:
    """Append paragraphs, headings and tables; consecutive rows are a table."""
    rows: list[Line] = []
    for piece in re.split(f"({_ROW}[|\\s]*)", text):
        if _CELL in piece:
            before, cells = _cells(piece)
            if before:
                _append_table(rows, builder)
                rows = []
                _append_paragraphs(before, builder)
            rows.append(cells)
        elif not piece.startswith(_ROW) and piece.strip("|\n "):
            _append_table(rows, builder)
            rows = []
            _append_paragraphs(piece, builder)
    _append_table(rows, builder)


def _cells(piece: str) -> tuple[str, Line]:
    """Paragraphs before the row, and the row's cells."""
    first, *rest = piece.split(_CELL)
    before, _, cell = first.rpartition("\n")
    cells: Line = [" ".join(text.removeprefix("|").split()) for text in (cell, *rest)]
    return before, cells[:-1] if not cells[-1] else cells


def _append_table(rows: list[Line], builder: TextBuilder) -> None:
    if rows:
        builder.table([[_unmarked(cell or "") for cell in row] for row in rows])


def _append_paragraphs(text: str, builder: TextBuilder) -> None:
    for line in text.split("\n"):
        level = next((ord(letter) - ord(_LEVEL) + 1 for letter in line if 0 <= ord(letter) - ord(_LEVEL) < _DEEPEST), 0)
        line = _unmarked(line)
        if level:
            builder.heading(min(level, 6), line)
        else:
            builder.block(line)


def _unmarked(text: str) -> str:
    return re.sub("[\ue000-\ue01f]", "", text).strip()


def _meta(head: str, apart: list[tuple[str, str]]) -> dict[str, str]:
    meta: dict[str, str] = {}
    for name, part in apart:
        if name in ("title", "author"):
            meta.setdefault(name, " ".join(_plain(head + part + "}").split()))
        elif name == "creatim" and (match := _TIME.search(part)):
            meta.setdefault("date", f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}")
    return meta
