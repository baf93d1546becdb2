"""Word files as Word shows them with all changes accepted: headings, lists with numbers, tables, notes, comments.

Headers stand at the start of their section and footers at its end, each text once. Notes and comments follow the
paragraph that refers to them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing.converters import tables
from indexing.converters.characters import clean
from indexing.converters.content import Content, TextBuilder, only_title, plain_meta
from indexing.converters.inline import one_line
from indexing.converters.office import drawings
from indexing.converters.office.numbering import BULLET, Numbering
from indexing.converters.office.package import (
    core_meta,
    links,
    main_part,
    open_package,
    part_of,
    related,
    root,
    target_of,
)
from indexing.converters.office.runs import Runs
from indexing.converters.office.styles import Styles
from indexing.converters.office.xml import CX, DGM, C, Element, O, R, W, inside, is_on, value
from search_app.types import Heading

_NAME = "Word document"
_HEADER, _FOOTER = f"{W}headerReference", f"{W}footerReference"
_MAX_COLUMNS = 63
_MAX_BOLD = 80
_PAGE_FIELD = re.compile(r"\b(?:PAGE|NUMPAGES|SECTIONPAGES)\b")
_NOTES = {f"{W}footnoteReference": "Footnote", f"{W}endnoteReference": "Endnote"}


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    package = open_package(path, "docx", _NAME)
    document = _Document(main_part(package, _NAME, ("word",)))
    document.read()
    builder, meta = document.builder, {**core_meta(package), "links": document.links}
    headings = document.headings()
    yield Content(
        builder.text(),
        str(document.title or meta.get("title") or only_title(headings)),
        plain_meta(meta),
        headings,
        warnings=tuple(document.warnings()),
        tables=tuple(builder.tables),
    )


@dataclass(slots=True)
class _Line:
    """A paragraph: `level` of a heading is 0 for other text; `marker` is its number or bullet."""

    text: str
    anchored: list[Element]
    marker: str = ""
    level: int = 0
    bold: bool = False
    style: str = ""
    page_number: bool = False
    ends_section: bool = False

    @property
    def shown(self) -> str:
        return f"{self.marker} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class _Section:
    """The parts of its headers and footers."""

    headers: list[Any]
    footers: list[Any]


class _Document:
    """The parts of a file and what has been read of them."""

    def __init__(self, part: Any) -> None:
        self.builder = TextBuilder()
        self.title = ""
        self.unread: list[str] = []
        self._bold: list[Heading] = []
        self._lines = 0
        self.part = part
        self.links = links(part)
        self._body = root(part).find(f"{W}body")
        self.styles = Styles(self._root("styles"))
        self.numbering = Numbering(self._root("numbering"), self.styles)
        self._notes = {name: self._texts(name.lower()) for name in _NOTES.values()}
        self._comments = self._texts("comment")
        self._numbers = dict.fromkeys(_NOTES.values(), 0)
        self._even = bool(is_on(self._root("settings"), "evenAndOddHeaders"))
        self._seen: set[str] = set()

    def read(self) -> None:
        """Write the whole file to the builder."""
        if self._body is None:
            return
        story = _Story(self, self.part, self._body)
        sections = deque(self._sections())
        self._write_once(sections[0].headers)
        for item in story.items(self._body):
            story.write(item)
            if isinstance(item, _Line) and item.ends_section and len(sections) > 1:
                self._write_once(sections.popleft().footers)
                self._write_once(sections[0].headers)
        self._write_once(sections[0].footers)

    def warnings(self) -> Iterator[str]:
        """What is in the file and was not read."""
        yield from drawings.unread_objects(self.unread)

    def note_line(self, line: _Line, start: int) -> None:
        """Remember a line in bold print: where no paragraph has the style of a heading, such lines are the headings."""
        self._lines += 1
        title = " ".join(clean(line.text).split())
        if line.bold and not line.marker and title and title[-1] not in ".,;":
            self._bold.append(Heading(1 if self._lines == 1 else 2, title, start, self.builder.length))

    def headings(self) -> tuple[Heading, ...]:
        """By style, or short lines in bold print if there are no others, unless most lines are bold."""
        bold = self._bold if 2 * len(self._bold) <= self._lines else ()
        return tuple(self.builder.headings or bold)

    def note(self, element: Element) -> str:
        """The text of a footnote or endnote, given its reference."""
        name = _NOTES[element.tag]
        self._numbers[name] += 1
        text = self._read(self._notes[name], element)
        return f"{name} {self._numbers[name]}: {text}" if text else ""

    def comment(self, element: Element) -> str:
        """The text of a comment, given its reference."""
        text = self._read(self._comments, element)
        found = self._comments.get(element.get(f"{W}id"))
        author = found[1].get(f"{W}author", "") if found else ""
        return (f"Comment ({author}): {text}" if author else f"Comment: {text}") if text else ""

    def _read(self, texts: dict[str, tuple[Any, Element]], reference: Element) -> str:
        part, element = texts.get(reference.get(f"{W}id"), (None, None))
        return "" if element is None else _Story(self, part, element).flat(element)

    def _root(self, kind: str) -> Element | None:
        part = next(related(self.part, kind), None)
        return None if part is None else root(part)

    def _texts(self, kind: str) -> dict[str, tuple[Any, Element]]:
        """The footnotes, endnotes or comments of the file with their part, by their ids."""
        found = [(part, root(part)) for part in related(self.part, f"{kind}s")]
        return {item.get(f"{W}id"): (part, item) for part, top in found for item in top.iterchildren(f"{W}{kind}")}

    def _sections(self) -> Iterator[_Section]:
        """A section without headers of its own has those of the last one."""
        last: dict[tuple[str, str], Any] = {}
        found = [item for item in self._body.iter(f"{W}sectPr") if item.getparent().tag in (f"{W}pPr", f"{W}body")]
        for properties in found or [self._body]:
            for tag in (_HEADER, _FOOTER):
                for reference in properties.iterchildren(tag):
                    last[tag, reference.get(f"{W}type", "default")] = part_of(self.part, reference.get(f"{R}id"))
            kinds = ["first"] * bool(is_on(properties, "titlePg")) + ["default"] + ["even"] * self._even
            headers, footers = (
                [last[tag, kind] for kind in kinds if last.get((tag, kind))] for tag in (_HEADER, _FOOTER)
            )
            yield _Section(headers, footers)

    def _write_once(self, parts: list[Any]) -> None:
        """Headers or footers that have not been written yet, without mere page numbers."""
        for part in parts:
            top = root(part)
            text = "".join(top.itertext(f"{W}t"))
            if text not in self._seen:
                self._seen.add(text)
                story = _Story(self, part, top)
                for item in story.items(top):
                    if not isinstance(item, _Line) or not item.page_number:
                        story.write(item)


class _Story:
    """Reads one part with paragraphs and tables: the body, a header, a note."""

    def __init__(self, document: _Document, part: Any, top: Element) -> None:
        self._document = document
        self._part = part
        self._runs = Runs(top, document.styles.hides, lambda key: target_of(part, key))

    def items(self, container: Element) -> Iterator[_Line | Element]:
        """The paragraphs of the body, a cell, a text box or a note as lines, and its tables, in order.

        A paragraph whose mark is deleted is the beginning of the next one.
        """
        before: _Line | None = None
        for item in inside(container, f"{W}p", f"{W}tbl", f"{W}altChunk"):
            if item.tag == f"{W}p":
                line = self._line(item, before)
                before = line if item.find(f"{W}pPr/{W}rPr/{W}del") is not None else None
                if before is None:
                    self._number(item, line)
                    yield line
            else:
                if before is not None:
                    yield before
                before = None
                yield item
        if before is not None:
            yield before

    def write(self, item: _Line | Element) -> None:
        """Add a paragraph or table, and what belongs to it."""
        if isinstance(item, _Line):
            self._write_line(item)
        elif item.tag == f"{W}tbl":
            self._write_table(item)
        elif item.tag == f"{W}altChunk":
            self._write_chunk(part_of(self._part, item.get(f"{R}id")))
        else:
            self._write_anchored(item)

    def _write_chunk(self, chunk: Any) -> None:
        """A document inside the document, as programs put it there that make Word files from web pages."""
        from indexing.converters import html, mime
        from indexing.converters.parts import decoded

        kind = "document" if chunk is None else chunk.content_type
        if kind in ("text/html", "application/xhtml+xml"):
            html.add_fragment(decoded(chunk.blob, ""), self._document.builder)
        elif kind == "message/rfc822":
            html.add_fragment(mime.read(chunk.blob).html, self._document.builder)
        else:
            self._document.unread.append(kind)

    def flat(self, container: Element, later: list[Element] | None = None, *, commas: bool = True) -> str:
        """The text in one line, see `one_line`. What has no place in it, such as an inner table, goes to `later`."""
        texts = []
        later = [] if later is None else later
        for item in self.items(container):
            if not isinstance(item, _Line):
                later.append(item)
                continue
            texts.append(item.shown)
            for element in item.anchored:
                if element.tag == f"{W}txbxContent":
                    texts.append(self.flat(element, later))
                else:
                    later.append(element)
        return one_line(texts, commas=commas)

    def _line(self, paragraph: Element, before: _Line | None) -> _Line:
        properties = paragraph.find(f"{W}pPr")
        styles = self._document.styles
        style = styles.of(properties)
        found = self._runs.read(paragraph, hidden=styles.hides(style))
        line = _Line(found.text, found.anchored, style=style, page_number=_is_page_number(paragraph, found.text))
        line.ends_section = properties is not None and properties.find(f"{W}sectPr") is not None
        if before is not None:
            line.text, line.anchored = before.text + line.text, before.anchored + line.anchored
            line.ends_section = line.ends_section or before.ends_section
        outline = value(properties, "outlineLvl")
        line.level = (int(outline) + 1) % 10 if outline.isdigit() else styles.heading(style) or 0
        line.bold = len(found.text) <= _MAX_BOLD and _is_bold(paragraph)
        return line

    def _number(self, paragraph: Element, line: _Line) -> None:
        line.marker = self._document.numbering.next(paragraph.find(f"{W}pPr"), line.style)

    def _write_line(self, line: _Line) -> None:
        builder = self._document.builder
        text = line.shown if line.text.strip() else ""
        if text and line.level:
            builder.heading(line.level, text)
        elif text and self._document.styles.is_title(line.style):
            self._document.title = self._document.title or " ".join(text.split())
            builder.heading(1, text)
        else:
            # A clause such as "2.1 The supplier …" is a paragraph of its own.
            listed = line.marker == BULLET or (line.marker and "." not in line.marker[:-1])
            start = builder.block(text, group="list" if listed else "")
            if text and self._part is self._document.part:
                self._document.note_line(line, start)
        for element in line.anchored:
            self._write_anchored(element)

    def _write_anchored(self, element: Element) -> None:
        document, tag = self._document, element.tag
        if tag == f"{W}txbxContent":
            for item in self.items(element):
                self.write(item)
        elif tag in _NOTES:
            document.builder.block(document.note(element))
        elif tag == f"{W}commentReference":
            document.builder.block(document.comment(element))
        elif tag == f"{O}OLEObject":
            document.unread.append(element.get("ProgID", "object"))
        elif tag in (f"{C}chart", f"{CX}chart", f"{DGM}relIds"):
            drawings.write(self._part, element, document.builder)
        else:
            drawings.write_picture(element, document.builder)

    def _write_table(self, table: Element) -> None:
        shown = [row for row in inside(table, f"{W}tr") if _is_shown(row)]
        if self._is_layout(shown):
            for row in shown:
                for cell in inside(row, f"{W}tc"):
                    for item in self.items(cell):
                        self.write(item)
            return
        later: list[Element] = []
        rows: list[list[str | None]] = []
        for row in shown:
            rows.append(self._row(row, rows[-1] if rows else [], later))
        self._document.builder.table(rows, header=self._header(table, shown, rows))
        for element in later:
            self.write(element)

    def _row(self, row: Element, above: list[str | None], later: list[Element]) -> list[str | None]:
        """The cells on the table's grid: None for a column that the cell at its left covers too."""
        cells: list[str | None] = [""] * _columns(value(row, "trPr/gridBefore"), 0)
        for cell in inside(row, f"{W}tc"):
            properties = cell.find(f"{W}tcPr")
            if properties is not None and properties.find(f"{W}cellDel") is not None:
                continue
            text = self.flat(cell, later, commas=bool(above))
            merged = None if properties is None else properties.find(f"{W}vMerge")
            if merged is not None and merged.get(f"{W}val", "continue") == "continue" and len(cells) < len(above):
                text = text or above[len(cells)] or ""
            if value(cell, "tcPr/hMerge", "restart") == "continue" and cells:
                cells.append(None)
                continue
            cells += [text, *[None] * (_columns(value(properties, "gridSpan"), 1) - 1)]
        return cells

    def _header(self, table: Element, shown: list[Element], rows: list[list[str | None]]) -> int | None:
        """How many rows are the header, if the table states it."""
        count = 0
        while count < len(shown) and is_on(shown[count].find(f"{W}trPr"), "tblHeader"):
            count += 1
        if not count and rows and not _names_a_row(rows[0]) and self._shows_header(table.find(f"{W}tblPr")):
            count = 1
        return count if not all(tables.is_title(row) for row in rows[:count]) else None

    def _shows_header(self, properties: Element | None) -> bool:
        """Whether the table's style has a header, and the table shows it."""
        look = None if properties is None else properties.find(f"{W}tblLook")
        if look is None or not self._document.styles.has_header(value(properties, "tblStyle")):
            return False
        stated = look.get(f"{W}firstRow")
        return stated in ("1", "true") if stated is not None else look.get(f"{W}val", "")[-2:-1] in set("2367ABEFabef")

    def _is_layout(self, rows: list[Element]) -> bool:
        """Whether a table only arranges text: a frame of one cell, or cells of a heading with text below it."""
        if sum(len(list(inside(row, f"{W}tc"))) for row in rows) == 1:
            return True
        styles = self._document.styles
        for row in rows:
            for cell in inside(row, f"{W}tc"):
                paragraphs = list(inside(cell, f"{W}p"))[:-1]
                if any(styles.heading(styles.of(paragraph.find(f"{W}pPr"))) for paragraph in paragraphs):
                    return True
        return False


def _is_page_number(paragraph: Element, text: str) -> bool:
    """Whether a paragraph shows the number of the page, and at most a word or two beside it."""
    fields = [item.text or "" for item in paragraph.iter(f"{W}instrText")]
    fields += [item.get(f"{W}instr", "") for item in paragraph.iter(f"{W}fldSimple")]
    numbers = sum(_PAGE_FIELD.search(item) is not None for item in fields)
    return numbers > 0 and len(re.findall(r"\d+", text)) <= numbers and len(re.findall(r"[^\W\d]+", text)) <= 2


def _is_bold(paragraph: Element) -> bool:
    runs = [run for run in paragraph.iter(f"{W}r") if run.find(f"{W}t") is not None]
    return bool(runs) and all(is_on(run.find(f"{W}rPr"), "b") for run in runs)


def _names_a_row(cells: list[str | None]) -> bool:
    """Whether the first cell names the second one, as in "Name: | Ada"."""
    return (cells[0] or "").endswith(":") if cells else False


def _is_shown(row: Element) -> bool:
    properties = row.find(f"{W}trPr")
    return properties is None or (properties.find(f"{W}del") is None and not is_on(properties, "hidden"))


def _columns(text: str, default: int) -> int:
    """A number of columns as Word limits it."""
    return min(int(text), _MAX_COLUMNS) if text.isdecimal() else default
