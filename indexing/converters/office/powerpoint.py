"""PowerPoint files: a slide is a page, its title a heading; tables, charts, diagrams, notes and comments are text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing.converters import tables
from indexing.converters.content import Content, TextBuilder, plain_meta
from indexing.converters.inline import one_line
from indexing.converters.office import drawings
from indexing.converters.office.numbering import formatted
from indexing.converters.office.package import core_meta, links, main_part, open_package, part_of, related, root
from indexing.converters.office.runs import Runs
from indexing.converters.office.xml import CX, DGM, A, C, Element, P, R, inside

_NAME = "PowerPoint file"
_SHAPES = tuple(f"{P}{name}" for name in ("sp", "pic", "graphicFrame", "grpSp", "cxnSp"))
_TITLES = "title", "ctrTitle"
_ON_EACH_SLIDE = "dt", "ftr", "hdr"
_MAX_COMPARED = 400
_NUMBERED = re.compile(r"(arabic|alphaLc|alphaUc|romanLc|romanUc)(Period|ParenR|ParenBoth|Plain)?$")
_COUNTED = {"arabic": "decimal", "alphaLc": "lowerLetter", "alphaUc": "upperLetter",
            "romanLc": "lowerRoman", "romanUc": "upperRoman"}  # fmt: skip
_AROUND = {"ParenR": "{})", "ParenBoth": "({})", "Plain": "{}"}


def convert(path: Path) -> Iterator[Content]:
    """Yield one document with a page per slide."""
    package = open_package(path, "pptx", _NAME)
    deck = _Deck(main_part(package, _NAME, ("presentation", "powerpoint")))
    deck.read()
    builder, meta = deck.builder, core_meta(package)
    meta |= {"pages": len(builder.pages), "links": list(deck.links)}
    first = builder.headings[0].title if builder.headings else ""
    yield Content(
        builder.text(),
        str(meta.get("title") or first),
        plain_meta(meta),
        tuple(builder.headings),
        tuple(builder.pages),
        tuple(deck.warnings()),
        tuple(builder.tables),
    )


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a shape is, in the units of the file."""

    left: int
    top: int
    right: int
    bottom: int


class _Deck:
    """Writes the slides in order; what is on each of them, such as a footer, once."""

    def __init__(self, part: Any) -> None:
        self.builder = TextBuilder()
        self.links: dict[str, None] = {}
        self._part = part
        self._authors = {
            item.get("id"): item.get("name", "")
            for kind in ("commentAuthors", "authors")
            for authors in related(part, kind)
            for item in root(authors)
        }
        self._seen: set[str] = set()
        self._empty: list[int] = []
        self._unread: list[str] = []

    def read(self) -> None:
        """Write all slides to the builder."""
        slides = root(self._part).iterfind(f"{P}sldIdLst/{P}sldId")
        parts = [part_of(self._part, slide.get(f"{R}id")) for slide in slides]
        for number, part in enumerate((part for part in parts if part is not None), start=1):
            self._slide(part)
            self.builder.end_page(number)
            if self.builder.pages[-1].start == self.builder.pages[-1].end:
                self._empty.append(number)

    def warnings(self) -> Iterator[str]:
        """What has no text or was not read."""
        if self._empty:
            yield f"no text on slide {', '.join(map(str, self._empty[:10]))}"
        yield from drawings.unread_objects(self._unread)

    def _slide(self, part: Any) -> None:
        top = root(part)
        self.links |= dict.fromkeys(links(part))
        layout = next(related(part, "slideLayout"), None)
        master = next(related(layout, "slideMaster"), None) if layout is not None else None
        behind = [root(found) for found in (layout, master) if found is not None]
        shapes = _in_reading_order(list(_shapes(top)), behind)
        title = next((shape for shape in shapes if _placeholder(shape).get("type") in _TITLES), None)
        if title is not None:
            self.builder.heading(1, _text(title))
        if top.get("show") in ("0", "false"):
            self.builder.block("Hidden slide")
        for shape in shapes:
            if shape is not title:
                self._shape(part, shape)
        self._static(top, behind)
        self._notes(part)
        self._comments(part)

    def _shape(self, part: Any, shape: Element) -> None:
        kind = _placeholder(shape).get("type")
        if kind == "sldNum":
            return
        if kind in _ON_EACH_SLIDE:
            self._once(_text(shape))
        elif shape.tag == f"{P}grpSp":
            self._picture(shape)
            for inner in _in_reading_order(list(inside(shape, *_SHAPES)), []):
                self._shape(part, inner)
        elif shape.tag == f"{P}graphicFrame":
            self._frame(part, shape)
            self._picture(shape)
        else:
            text = _text(shape)
            self.builder.block(text)
            if not text:
                self._picture(shape)

    def _frame(self, part: Any, frame: Element) -> None:
        for data in frame.iterfind(f"{A}graphic/{A}graphicData"):
            for item in inside(data, f"{A}tbl", f"{C}chart", f"{CX}chart", f"{DGM}relIds", f"{P}oleObj"):
                if item.tag == f"{A}tbl":
                    rows = list(_rows(item))
                    self.builder.table(rows, header=_header(item, rows))
                elif item.tag == f"{P}oleObj":
                    self._unread.append(item.get("progId", "object"))
                else:
                    drawings.write(part, item, self.builder)

    def _picture(self, shape: Element) -> None:
        properties = next(shape.iterfind(f"*/{P}cNvPr"), None)
        if properties is not None and (text := drawings.alternative_text(properties)):
            self.builder.block(f"Picture: {text}")

    def _static(self, slide: Element, behind: Sequence[Element]) -> None:
        """Text of the layout and its master that is no placeholder, where a slide first shows it."""
        for top in behind:
            if slide.get("showMasterSp") in ("0", "false"):
                return
            for shape in _shapes(top):
                if not _placeholder(shape):
                    self._once(_text(shape))
            slide = top

    def _once(self, text: str) -> None:
        if text not in self._seen:
            self._seen.add(text)
            self.builder.block(text)

    def _notes(self, part: Any) -> None:
        for notes in related(part, "notesSlide"):
            for shape in _shapes(root(notes)):
                if _placeholder(shape).get("type") == "body" and (text := _text(shape)):
                    self.builder.block(f"Notes: {text}")

    def _comments(self, part: Any) -> None:
        """Of both formats: a text, or paragraphs and replies."""
        for comments in related(part, "comments"):
            for item in root(comments).iter("{*}cm", "{*}reply"):
                text = item.findtext("{*}text") or "\n".join(_lines(item.find("{*}txBody")))
                author = self._authors.get(item.get("authorId"), "")
                if text.strip():
                    self.builder.block(f"Comment ({author}): {text}" if author else f"Comment: {text}")


def _shapes(top: Element) -> Iterator[Element]:
    tree = top.find(f"{P}cSld/{P}spTree")
    return iter(()) if tree is None else inside(tree, *_SHAPES)


def _placeholder(shape: Element) -> dict[str, str]:
    """Type and index of a placeholder, empty for other shapes."""
    found = next(shape.iterfind(f"*/{P}nvPr/{P}ph"), None)
    return {} if found is None else {"type": "obj", "idx": "0", **found.attrib}


def _text(shape: Element) -> str:
    return "\n".join(line for line in _lines(shape.find(f"{P}txBody")) if line.strip())


def _lines(body: Element | None) -> Iterator[str]:
    """The paragraphs of a text, with the numbers of a numbered list."""
    if body is None:
        return
    runs, counts = Runs(body), dict[int, int]()
    for paragraph in body.iterchildren(f"{A}p"):
        text = runs.read(paragraph).text
        properties = paragraph.find(f"{A}pPr")
        level = 0 if properties is None else int(properties.get("lvl", "0"))
        numbered = None if properties is None else properties.find(f"{A}buAutoNum")
        for deeper in [key for key in counts if key > level or (key == level and numbered is None)]:
            del counts[deeper]
        if numbered is not None and text.strip():
            counts[level] = counts.get(level, int(numbered.get("startAt", "1")) - 1) + 1
            text = f"{_marker(numbered.get('type', ''), counts[level])} {text}"
        yield text


def _marker(shape: str, count: int) -> str:
    found = _NUMBERED.match(shape)
    if found is None:
        return f"{count}."
    return _AROUND.get(found[2] or "", "{}.").format(formatted(count, _COUNTED[found[1]]))


def _rows(table: Element) -> Iterator[list[str | None]]:
    above: list[str | None] = []
    for row in table.iterchildren(f"{A}tr"):
        cells: list[str | None] = []
        for column, cell in enumerate(row.iterchildren(f"{A}tc")):
            if cell.get("hMerge") in ("1", "true"):
                cells.append(None)
            elif cell.get("vMerge") in ("1", "true") and column < len(above):
                cells.append(above[column])
            else:
                cells.append(one_line(_lines(cell.find(f"{A}txBody")), commas=bool(above)))
        yield cells
        above = cells


def _header(table: Element, rows: Sequence[list[str | None]]) -> int | None:
    properties = table.find(f"{A}tblPr")
    stated = properties is not None and properties.get("firstRow") in ("1", "true")
    return 1 if stated and rows and not tables.is_title(rows[0]) else None


def _in_reading_order(shapes: list[Element], behind: Sequence[Element]) -> list[Element]:
    """The order of the file, in which screen readers read too, unless it goes back up or to the left."""
    places = [(shape, box) for shape in shapes if (box := _box(shape, behind)) is not None]
    if len(places) < len(shapes) or not _goes_back([box for _, box in places]):
        return shapes
    places.sort(key=lambda place: (place[1].top, place[1].left))
    rows: list[list[tuple[Element, _Box]]] = []
    for shape, box in places:
        first = rows[-1][0][1] if rows else None
        if first is not None and box.top < (first.top + first.bottom) // 2:
            rows[-1].append((shape, box))
        else:
            rows.append([(shape, box)])
    return [shape for row in rows for shape, _ in sorted(row, key=lambda place: place[1].left)]


def _goes_back(boxes: Sequence[_Box]) -> bool:
    for index, box in enumerate(boxes[:_MAX_COMPARED]):
        for later in boxes[index + 1 : _MAX_COMPARED]:
            beside = later.top < box.bottom and box.top < later.bottom
            below = later.left < box.right and box.left < later.right
            if (below and later.bottom <= box.top) or (beside and later.right <= box.left):
                return True
    return False


def _box(shape: Element, behind: Sequence[Element]) -> _Box | None:
    """Where a shape is; a placeholder may be where its layout or master has it."""
    frame = next(shape.iterfind(f"{P}spPr/{A}xfrm"), None)
    frame = next(shape.iterfind(f"{P}grpSpPr/{A}xfrm"), frame)
    frame = next(shape.iterfind(f"{P}xfrm"), frame)
    if frame is None or frame.find(f"{A}off") is None or frame.find(f"{A}ext") is None:
        return _inherited(_placeholder(shape), behind)
    off, ext = frame.find(f"{A}off"), frame.find(f"{A}ext")
    left, top, width, height = (int(float(item.get(name, "0"))) for item, name in
                                ((off, "x"), (off, "y"), (ext, "cx"), (ext, "cy")))  # fmt: skip
    return _Box(left, top, left + width, top + height)


def _inherited(placeholder: dict[str, str], behind: Sequence[Element]) -> _Box | None:
    for number, top in enumerate(behind):
        for shape in _shapes(top) if placeholder else ():
            other = _placeholder(shape)
            if other and (other["idx"] == placeholder["idx"] or other["type"] == placeholder["type"]):
                return _box(shape, behind[number + 1 :])
    return None
