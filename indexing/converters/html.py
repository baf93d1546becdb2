"""HTML: the main content by trafilatura, or all of the page's text if that finds little. No scripts run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError, TextBuilder, plain_meta
from indexing.converters.decoding import read_text

_DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_UNSEEN = frozenset(
    (
        "script", "style", "noscript", "template", "head", "iframe", "object", "embed", "svg", "canvas", "math",
        "button", "select", "option", "input", "textarea",
    )
)  # fmt: skip
_FURNITURE = frozenset(("nav", "footer", "aside"))
_BLOCKS = frozenset(
    (
        "p", "div", "section", "article", "main", "header", "footer", "aside", "nav", "ul", "ol", "dl", "dt",
        "dd", "li", "list", "item", "blockquote", "quote", "table", "tr", "row", "figure", "figcaption",
        "caption", "address", "details", "summary", "form", "fieldset", "hr", "body", "head", "h1", "h2", "h3",
        "h4", "h5", "h6", "pre", "lb", "br", "center", "td", "th", "cell",
    )
)  # fmt: skip
_MAX_TREE = 100_000
_ENOUGH = 0.4
"""Minimum share of the page's text, without menus and footers, for which trafilatura's result is used."""


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    with path.open("rb") as file:
        declared = _DECLARED.search(file.read(4096))
    text = clean(read_text(path, declared=declared[1].decode() if declared else ""))
    tree = parse(text)
    meta = _meta(tree)
    title = str(meta.get("title", ""))
    whole = TextBuilder()
    _walk(tree, whole, skip=_UNSEEN | _FURNITURE)
    if not whole.text().strip():
        _walk(tree, whole, skip=_UNSEEN)
    main = _main_content(tree)
    chosen = main if main is not None and len(main.text()) >= _ENOUGH * len(whole.text()) else whole
    title = title or (chosen.headings[0].title if chosen.headings else "")
    yield Content(chosen.text(), title, plain_meta(meta), tuple(chosen.headings))


def text_of(fragment: str) -> str:
    """The visible text of HTML inside another format."""
    builder = TextBuilder()
    try:
        append(fragment, builder)
    except ConversionError:
        return ""
    return builder.text()


def append(fragment: str, builder: TextBuilder) -> None:
    """Append all that HTML inside another format shows. Raises ConversionError."""
    _walk(parse(fragment), builder, skip=_UNSEEN)


def parse(text: str) -> Any:
    """The element tree. The parser cuts off markup that is too deep or too big. Raises ConversionError."""
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    if not text.strip():
        return lxml_html.document_fromstring("<html><body></body></html>")
    try:
        parser = lxml_html.HTMLParser(remove_comments=True, remove_pis=True)
        return lxml_html.document_fromstring(text, parser=parser)
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise ConversionError(f"it cannot be read as HTML: {error}") from error


def _main_content(tree: Any) -> TextBuilder | None:
    if sum(1 for _ in tree.iter()) > _MAX_TREE:
        return None
    from trafilatura.core import bare_extraction

    try:
        found = bare_extraction(
            tree, favor_recall=True, include_formatting=True, with_metadata=False, date_extraction_params={}
        )
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, etree.LxmlError):
        return None  # fall back to the whole page's text
    body = getattr(found, "body", None)
    if body is None:
        return None
    builder = TextBuilder()
    _walk(body, builder, skip=frozenset())
    return builder


def _walk(root: Any, builder: TextBuilder, *, skip: frozenset[str]) -> None:
    """Append the blocks of text in order. No recursion, as a tree may be very deep."""
    inline: list[str] = []
    cells: list[str] | None = None
    prefix = ""
    verbatim = hidden = 0

    def flush(*, level: int = 0) -> None:
        nonlocal prefix
        raw = "".join(inline)
        inline.clear()
        text = raw if verbatim else " ".join(raw.split())
        if not text.strip():
            return
        if cells is not None:
            cells.append(" ".join(text.split()))
        elif level:
            builder.heading(level, text)
        else:
            builder.block(prefix + text, group="list" if prefix else "")
            prefix = ""

    for event, element in etree.iterwalk(root, events=("start", "end")):
        tag = element.tag if isinstance(element.tag, str) else ""
        trafilatura_head = tag == "head" and element.get("rend") is not None
        # trafilatura makes <quote> of <pre>; its <code> may be a word in a sentence.
        code = tag == "pre" or (tag in ("code", "quote") and "\n" in (element.text or "").strip())
        block = tag in _BLOCKS or code
        if event == "start":
            if hidden or (tag in skip and not trafilatura_head):
                hidden += 1
                continue
            if block:
                flush()
            if code:
                verbatim += 1
            elif tag in ("tr", "row"):
                cells = []
            elif tag in ("li", "item"):
                prefix = "- "
            inline.append(element.text or "")
            continue
        if hidden:
            hidden -= 1
        else:
            if block:
                flush(level=_level(element, tag))
            if code:
                verbatim = max(0, verbatim - 1)
            elif tag in ("tr", "row"):
                row, cells = cells or [], None
                builder.block(" | ".join(row), group="table")
            elif tag in ("li", "item"):
                prefix = ""
        if element is not root and not hidden:
            inline.append(element.tail or "")
    flush()


def _level(element: Any, tag: str) -> int:
    name = str(element.get("rend") or "h2") if tag == "head" else tag
    return int(name[1]) if len(name) == 2 and name[0] == "h" and name[1] in "123456" else 0


def _meta(tree: Any) -> dict[str, str]:
    """The page's metadata; the most reliable source of each value comes first."""
    named: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = (element.get("name") or element.get("property") or element.get("itemprop") or "").strip().lower()
        value = (element.get("content") or "").strip()
        if name and value:
            named.setdefault(name, value)
    title = tree.find(".//title")
    link = next((item for item in tree.iter("link") if item.get("rel") == "canonical"), None)
    candidates = {
        "title": [" ".join(title.text_content().split()) if title is not None else "", named.get("og:title", "")],
        "author": [named.get(name, "") for name in ("author", "article:author", "dc.creator", "dcterms.creator")],
        "date": [
            named.get(name, "")
            for name in ("article:published_time", "date", "dc.date", "dcterms.date", "datepublished", "pubdate")
        ],
        "language": [tree.get("lang") or "", tree.get("xml:lang") or "", named.get("language", "")],
        "url": [link.get("href") if link is not None else "", named.get("og:url", "")],
    }
    found = {key: next((value for value in values if value), "") for key, values in candidates.items()}
    if not (found["url"] or "").startswith(("http://", "https://")):
        found["url"] = ""
    return {key: value for key, value in found.items() if value}
