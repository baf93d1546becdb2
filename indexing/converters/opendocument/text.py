"""OpenDocument texts: headings, lists with numbers, tables, notes, comments, headers and footers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexing.converters import markup
from indexing.converters.content import Content, TextBuilder, only_title, plain_meta
from indexing.converters.opendocument.package import opened, properties
from indexing.converters.opendocument.rows import MAX_COLUMNS, Spans

_SKIPPED = frozenset(
    ("tracked-changes", "table-of-content", "alphabetical-index", "illustration-index", "table-index", "object-index",
     "user-index", "bibliography", "sequence-decls", "variable-decls", "forms", "ruby-text")
)  # fmt: skip
_MAX_DEPTH = 60


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    with opened(path, "odt") as archive:
        meta = properties(archive)
        content = markup.parse(archive.read("content.xml"))
        styles = markup.part(archive, "styles.xml")
        builder = TextBuilder()
        reader = Reader(builder, Styles.of(content, styles))
        frame = list(_around(styles))
        for element in frame:
            if markup.name_of(element).startswith("header"):
                reader.read(element)
        body = next(content.iter("{urn:oasis:names:tc:opendocument:xmlns:office:1.0}text"), None)
        if body is not None:
            reader.read(body)
        for element in frame:
            if markup.name_of(element).startswith("footer"):
                reader.read(element)
    title = str(meta.get("title") or reader.title or only_title(builder.headings))
    yield Content(builder.text(), title, plain_meta(meta), tuple(builder.headings), tables=tuple(builder.tables))


def _around(styles: Any) -> Iterator[Any]:
    """Headers and footers of the pages, each text once."""
    seen: set[str] = set()
    for page in styles.iter("{*}master-page") if styles is not None else ():
        for element in page:
            text = "".join(element.itertext()).strip()
            if markup.name_of(element) in ("header", "header-first", "footer", "footer-first") and text not in seen:
                seen.add(text)
                yield element


@dataclass(frozen=True, slots=True)
class Styles:
    """`parents` leads from a style to the one it is made from; `numbered` are (style of a list, level) with numbers."""

    parents: Mapping[str, str] = field(default_factory=dict)
    numbered: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, *roots: Any) -> Styles:
        """Of the parts of a file; a part may be None."""
        parents: dict[str, str] = {}
        numbered: set[tuple[str, int]] = set()
        for root in roots:
            for style in root.iter("{*}style") if root is not None else ():
                parents[markup.value_of(style, "name")] = markup.value_of(style, "parent-style-name")
            for level in root.iter("{*}list-level-style-number") if root is not None else ():
                if markup.value_of(level, "num-format"):
                    numbered.add(
                        (markup.value_of(level.getparent(), "name"), _integer(markup.value_of(level, "level")))
                    )
        return cls(parents, frozenset(numbered))

    def named(self, style: str, wanted: str) -> bool:
        """Whether the style is `wanted`, or made from it."""
        for _ in range(20):
            if style == wanted:
                return True
            style = self.parents.get(style, "")
        return False


class Reader:
    """Appends paragraphs, headings, lists and tables in order. `title` is the first paragraph that looks like one."""

    def __init__(self, builder: TextBuilder, styles: Styles) -> None:
        self._builder, self._styles = builder, styles
        self.title = ""
        self._lists: list[tuple[str, int]] = []
        self._marker = ""
        self._later: list[Any] = []
        self._depth = 0

    def read(self, parent: Any) -> None:
        """Append what the element holds."""
        self._depth += 1
        if self._depth <= _MAX_DEPTH:
            for element in parent:
                self._element(element)
        self._depth -= 1

    def _element(self, element: Any) -> None:
        name = markup.name_of(element)
        if name == "h":
            self._builder.heading(
                min(_integer(markup.value_of(element, "outline-level")) or 1, 6), self._inline(element)
            )
            self._append_later()
        elif name == "p":
            self._paragraph(element)
        elif name == "list":
            self._list(element)
        elif name == "table":
            self._table(element)
        elif name in ("title", "desc"):  # what a picture shows, in words
            self._builder.block(element.text or "")
        elif name in ("frame", "custom-shape", "text-box", "g") or (name not in _SKIPPED and len(element)):
            self.read(element)

    def _paragraph(self, element: Any) -> None:
        text = self._inline(element)
        if self._styles.named(markup.value_of(element, "style-name"), "Title") and text.strip():
            self.title = self.title or " ".join(text.split())
            self._builder.heading(1, text)
        elif text.strip():
            self._builder.block(self._marker + text, group="list" if self._lists else "")
            self._marker = ""
        self._append_later()

    def _list(self, element: Any) -> None:
        style = markup.value_of(element, "style-name") or (self._lists[-1][0] if self._lists else "")
        level = len(self._lists) + 1
        self._lists.append((style, level))
        number = 0
        for item in element:
            if markup.name_of(item) == "list-item":
                number += 1
                numbered = (style, level) in self._styles.numbered
                self._marker = "  " * (level - 1) + (f"{number}. " if numbered else "- ")
            self.read(item)
            self._marker = ""
        self._lists.pop()

    def _table(self, element: Any) -> None:
        spans = Spans(self._cell)
        rows, header = [], 0
        for row in element.iter("{*}table-row"):
            if next(row.iterancestors("{*}table")) is not element:
                continue
            cells = spans.filled(row)
            rows.append([cells.get(column, "") for column in range(min(max(cells, default=-1) + 1, MAX_COLUMNS))])
            header += markup.name_of(row.getparent()) == "table-header-rows"
        self._builder.table(rows, header=header or None)
        self._append_later()

    def _cell(self, cell: Any) -> str:
        return " ".join(self._inline(element) for element in cell.iter("{*}p", "{*}h") if not _in_note(element, cell))

    def _inline(self, element: Any) -> str:
        """The text of a paragraph. Notes, comments and text boxes in it wait until it is appended."""
        return text_of(element, self._later)

    def _append_later(self) -> None:
        waiting, self._later = self._later, []
        for element in waiting:
            name = markup.name_of(element)
            if name == "note":
                self._note(element)
            elif name == "annotation":
                self._comment(element)
            else:
                self.read(element)

    def _note(self, element: Any) -> None:
        kind = "Endnote" if markup.value_of(element, "note-class") == "endnote" else "Footnote"
        citation, body = markup.child(element, "note-citation"), markup.child(element, "note-body")
        number = "".join(citation.itertext()).strip() if citation is not None else ""
        text = " ".join(text_of(inner, []) for inner in body.iter("{*}p")) if body is not None else ""
        if text.strip():
            self._builder.block(f"{kind} {number}: {text}" if number else f"{kind}: {text}")

    def _comment(self, element: Any) -> None:
        author = markup.child(element, "creator")
        name = (author.text or "").strip() if author is not None else ""
        text = " ".join(text_of(inner, []) for inner in element.iter("{*}p"))
        if text.strip():
            self._builder.block(f"Comment ({name}): {text}" if name else f"Comment: {text}")


def text_of(element: Any, later: list[Any] | None = None, depth: int = 0) -> str:
    """The text of a paragraph, with its spaces, tabs and line breaks. Notes and frames in it are added to `later`."""
    parts: list[str] = [element.text or ""]
    for inner in element:
        name = markup.name_of(inner)
        if name == "s":
            parts.append(" " * min(_integer(markup.value_of(inner, "c")) or 1, 100))
        elif name == "tab":
            parts.append("\t")
        elif name == "line-break":
            parts.append("\n")
        elif name in ("note", "annotation", "frame", "custom-shape", "g"):
            if later is not None:
                later.append(inner)
        elif name not in _SKIPPED and depth < _MAX_DEPTH:
            parts.append(text_of(inner, later, depth + 1))
        parts.append(inner.tail or "")
    return "".join(parts)


def _in_note(element: Any, cell: Any) -> bool:
    for parent in element.iterancestors():
        if parent is cell:
            return False
        if markup.name_of(parent) in ("note", "annotation"):
            return True
    return False


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
