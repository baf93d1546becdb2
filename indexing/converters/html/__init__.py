"""HTML: what a page shows, without the menus, banners and footers of its site. No scripts run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from lxml import etree
from lxml import html as lxml_html

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError, TextBuilder, only_title, plain_meta
from indexing.converters.decoding import read_text
from indexing.converters.html.blocks import append
from indexing.converters.html.furniture import tidy

_DECLARED = re.compile(
    rb"""(?:<meta[^>]{0,200}charset|^\s*<\?xml[^>]{0,100}encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE
)
_MAX_LINKS = 50
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no tree of lxml may hold, and no browser shows."""


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    with path.open("rb") as file:
        declared = _DECLARED.search(file.read(4096))
    text, warnings = read_text(path, declared=[charset, declared[1].decode() if declared else ""])
    text = clean(text)
    tree = parse(text)
    meta: dict[str, Any] = _meta(tree)
    builder = TextBuilder()
    add(tree, builder)
    if not builder.text():
        tree = parse(text)
        add(tree, builder, whole=True)
    meta["links"] = links(tree, meta.get("url", ""))
    title = str(meta.get("title") or only_title(builder.headings))
    yield Content(
        builder.text(),
        title,
        plain_meta(meta),
        tuple(builder.headings),
        warnings=warnings,
        tables=tuple(builder.tables),
    )


def add(tree: Any, builder: TextBuilder, *, whole: bool = False) -> None:
    """Append what a tree shows; with `whole`, menus and footers too. Changes the tree."""
    questions = tidy(tree, whole=whole)
    append(tree, builder, questions=questions)


def add_fragment(fragment: str, builder: TextBuilder) -> None:
    """Append all that HTML inside another format shows: headings, paragraphs, lists, tables."""
    with contextlib.suppress(ConversionError):
        add(parse(fragment), builder, whole=True)


def text_of(fragment: str) -> str:
    """The visible text of HTML inside another format."""
    builder = TextBuilder()
    add_fragment(fragment, builder)
    return builder.text()


def parse(text: str) -> Any:
    """The element tree. The parser cuts off markup that is too deep or too big. Raises ConversionError."""
    text = _CONTROL.sub(" ", re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    if not text.strip():
        return lxml_html.document_fromstring("<html><body></body></html>")
    try:
        parser = lxml_html.HTMLParser(remove_comments=True, remove_pis=True)
        return lxml_html.document_fromstring(text, parser=parser)
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise ConversionError(f"it cannot be read as HTML: {error}") from error


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


def links(tree: Any, base: str = "") -> list[str]:
    """Addresses on the web that the content leads to and that its text does not show."""
    found: dict[str, None] = {}
    for link in tree.iter("a"):
        address = urljoin(base, (link.get("href") or "").strip())
        if address.startswith(("http://", "https://")) and address not in "".join(link.itertext()):
            found[address] = None
    return list(found)[:_MAX_LINKS]
