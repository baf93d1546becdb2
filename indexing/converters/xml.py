"""XML: records as documents of lines `name: value`, and texts such as DocBook, TEI, JATS and FictionBook as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexing.converters import html, markup
from indexing.converters.content import Content, ConversionError, TextBuilder, plain_meta
from indexing.converters.decoding import read_text

_HEADS = frozenset(("title", "head", "heading", "bridgehead"))
_PARAGRAPHS = frozenset(("p", "para", "simpara", "subtitle", "ab", "l", "v", "quote", "attribution", "text-author"))
_ITEMS = frozenset(("listitem", "item", "li", "list-item"))
_TABLES = frozenset(("table", "informaltable"))
_ROWS, _CELLS = frozenset(("tr", "row")), frozenset(("td", "th", "entry", "cell"))
_VERBATIM = frozenset(("programlisting", "screen", "literallayout", "pre", "eg", "code", "preformat"))
_NOTES = frozenset(("footnote", "note", "fn"))
_UNSEEN = frozenset(
    ("teiHeader", "info", "articleinfo", "bookinfo", "chapterinfo", "sectioninfo", "binary", "style",
     "script", "journal-meta", "article-id", "permissions", "indexterm", "back-matter")
)  # fmt: skip
_PROSE = _PARAGRAPHS | _HEADS | {"section", "sect1", "chapter", "div", "body"}
_TITLES = ("title", "article-title", "book-title", "name", "headline")
_META = {"author": "author", "creator": "author", "date": "date", "pubDate": "date", "published": "date",
         "updated": "date", "language": "language", "lang": "language"}  # fmt: skip
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]{0,300}\?>")
_MAX_LEVEL = 6
_MAX_TITLE = 200


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document, or one per record of a file that is a list of them."""
    root, warnings = _parsed(path, charset)
    if _is_prose(root):
        yield _prose(root, warnings)
        return
    container, name = _records(root)
    rest = "\n".join(_lines(root, skip=name))
    if rest or not name:
        yield Content(rest, _field(container, _TITLES), warnings=warnings)
    for number, record in enumerate((item for item in container if markup.name_of(item) == name), start=1):
        yield Content(
            "\n".join(_lines(record)), _field(record, _TITLES), plain_meta({**_meta(record), "record": number})
        )


def _parsed(path: Path, charset: str) -> tuple[Any, tuple[str, ...]]:
    """The root element. A file in another encoding than it declares is decoded as its server states, or by a guess."""
    data = path.read_bytes()
    try:
        return markup.parse(data), ()
    except ConversionError as error:
        text, warnings = read_text(data, declared=[charset])
        if "ncod" not in str(error) and "UTF-8" not in str(error):
            raise
        return markup.parse(_DECLARATION.sub("", text.removeprefix("\ufeff")).encode()), warnings


def _is_prose(root: Any) -> bool:
    """Whether there is text between elements, as in sentences."""
    return any(
        markup.name_of(element) in _PARAGRAPHS or any((child.tail or "").strip() for child in element)
        for element in root.iter("{*}*")
    )


def _prose(root: Any, warnings: tuple[str, ...]) -> Content:
    writer = _Writer()
    writer.read([root], 1)
    builder = writer.builder
    title = next((_inline(item)[:_MAX_TITLE] for item in root.iter(*(f"{{*}}{name}" for name in _TITLES[:3]))), "")
    meta = plain_meta({**_meta(root), "title": title})
    return Content(
        builder.text(), title, meta, tuple(builder.headings), warnings=warnings, tables=tuple(builder.tables)
    )


class _Writer:
    """Appends elements in order: what a section's title is below, where a paragraph ends, what is a table."""

    def __init__(self) -> None:
        self.builder = TextBuilder()
        self._marker = ""

    def read(self, parent: Any, level: int) -> None:
        """Append what the element holds; its own title is a heading of that level."""
        has_title = any(markup.name_of(child) in _HEADS for child in parent)
        for child in parent:
            name = markup.name_of(child)
            if name in _HEADS and has_title and markup.name_of(parent) not in _TABLES:
                self.builder.heading(min(level, _MAX_LEVEL), _inline(child))
            elif name and name not in _UNSEEN and not _is_imprint(child):
                self._element(child, name, level + 1 if has_title else level)

    def _element(self, element: Any, name: str, level: int) -> None:
        if name in _TABLES and next(element.iter(*(f"{{*}}{row}" for row in _ROWS)), None) is not None:
            self._table(element)
        elif name in _VERBATIM:
            self.builder.block("".join(element.itertext()))
        elif name in _ITEMS:
            self._marker = "- "
            self._text(element) if _is_text(element) else self.read(element, level)
            self._marker = ""
        elif name in _PARAGRAPHS or _is_text(element):
            self._text(element)
        else:
            self.read(element, level)

    def _text(self, element: Any) -> None:
        self.builder.block(self._marker + _inline(element), group="list" if self._marker else "")
        self._marker = "  " if self._marker else ""
        for note in element.iter(*(f"{{*}}{name}" for name in _NOTES)):
            if note is not element:
                self.builder.block(f"Footnote: {_inline(note)}")

    def _table(self, element: Any) -> None:
        for child in element:
            if markup.name_of(child) in (*_HEADS, "caption"):
                self.builder.block(_inline(child))
        rows, header = [], 0
        for row in element.iter(*(f"{{*}}{name}" for name in _ROWS)):
            rows.append([_inline(cell) for cell in row if markup.name_of(cell) in _CELLS])
            header += markup.name_of(row.getparent()) == "thead" or row.get("role") == "label"
        self.builder.table(rows, header=header or None)


def _is_imprint(element: Any) -> bool:
    """What FictionBook states about a book before its text."""
    parent = element.getparent()
    return markup.name_of(element) == "description" and parent is not None and markup.name_of(parent) == "FictionBook"


def _is_text(element: Any) -> bool:
    """Whether the element holds words of its own."""
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)


def _inline(element: Any) -> str:
    parts: list[str] = [element.text or ""]
    for child in element:
        if markup.name_of(child) not in (*_NOTES, "indexterm"):
            parts.append(_inline(child) if markup.name_of(child) else "")
        parts.append(child.tail or "")
    return " ".join("".join(parts).split())


def _records(root: Any) -> tuple[Any, str]:
    """The element with the records, and their name; "" if the file is no list of them."""
    container = root
    for _ in range(3):
        names = Counter(markup.name_of(child) for child in container if len(child) or len(child.attrib) > 1)
        name, count = max(names.items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            return container, name
        if count != 1:
            break
        container = next(child for child in container if markup.name_of(child) == name)
    return root, ""


def _lines(element: Any, prefix: str = "", *, skip: str = "") -> Iterator[str]:
    """Nested elements as `outer.inner: value`, attributes like elements."""
    for key, value in element.attrib.items():
        if value.strip() and not key.startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            yield f"{prefix}{key.rpartition('}')[2]}: {' '.join(value.split())}"
    if not len(element) and not prefix and (element.text or "").strip():
        yield _value(element.text)
    for child in element:
        name = markup.name_of(child)
        if not name or name == skip:
            continue
        if (child.text or "").strip():
            yield f"{prefix}{name}: {_value(child.text)}"
        yield from _lines(child, f"{prefix}{name}.", skip=skip)


def _value(text: str) -> str:
    """Feeds have HTML inside."""
    return " ".join((html.text_of(text) if "</" in text or "/>" in text or "<br" in text else text).split())


def _field(element: Any, names: tuple[str, ...]) -> str:
    found = {markup.name_of(child).lower(): child.text or "" for child in element}
    found |= {key.lower(): value for key, value in element.attrib.items()}
    return next((" ".join(found[name].split())[:_MAX_TITLE] for name in names if found.get(name, "").strip()), "")


def _meta(element: Any) -> dict[str, str]:
    meta: dict[str, str] = {}
    for child in element.iter("{*}*"):
        name = _META.get(markup.name_of(child))
        if name and (text := _inline(child)):
            meta.setdefault(name, text)
    link = markup.child(element, "link")
    address = (link.text or "").strip() or str(link.get("href") or "") if link is not None else ""
    return {**meta, "url": address} if address.startswith(("http://", "https://")) else meta
