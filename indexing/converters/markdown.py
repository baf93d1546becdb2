"""Markdown by markdown-it, as the page that it makes, and its front matter as metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from indexing.converters import front_matter, html
from indexing.converters.characters import clean
from indexing.converters.content import Content, TextBuilder, only_title, plain_meta
from indexing.converters.decoding import read_text
from search_app.types import Heading

_ATX = re.compile(r"^(#{1,6})[ \t]+(.{1,200}?)[ \t#]*$", re.MULTILINE)
_FOOTNOTE = re.compile(r"^( {0,3})\[\^([^\]\n]{1,64})\]:", re.MULTILINE)
"""Would be taken for the address of a link, and not shown."""
_ATTRIBUTES = re.compile(r"^(#{1,6}[ \t].{1,200}?)[ \t]*\{[#.][^{}\n]{0,200}\}[ \t]*$", re.MULTILINE)
_INLINE = re.compile(r"</?(?:br|wbr|img|a|sup|sub|kbd|q)\b", re.IGNORECASE)
_MAX_PARSED = 4_000_000
"""Longer texts keep their markup, as the parser needs about 300 bytes per character."""


def convert(path: Path, *, charset: str = "") -> Iterator[Content]:
    """Yield one document."""
    text, undecoded = read_text(path, declared=[charset])
    meta, text, warnings = front_matter.split(clean(text))
    builder = TextBuilder()
    if len(text) > _MAX_PARSED:
        headings = [Heading(len(match[1]), match[2], match.start(), match.end()) for match in _ATX.finditer(text)]
    else:
        links = _append(text, builder)
        meta |= plain_meta({"links": links} if links else {})
        text, headings = builder.text(), builder.headings
    yield Content(
        text,
        str(meta.get("title") or only_title(headings)),
        meta,
        tuple(headings),
        warnings=undecoded + warnings,
        tables=tuple(builder.tables),
    )


def append(text: str, builder: TextBuilder) -> None:
    """Append Markdown inside another format."""
    _append(clean(text), builder)


def _append(text: str, builder: TextBuilder) -> list[str]:
    """Append the text, and return the addresses of its links that it does not show."""
    page = _parser().render(_ATTRIBUTES.sub(r"\1", _FOOTNOTE.sub(r"\1\\[^\2]:", text)))
    tree = html.parse(page)
    html.add(tree, builder, whole=True)
    return html.links(tree)


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.add_render_rule("html_inline", _inline)
    return parser


def _inline(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    """Tags inside of a paragraph that are shown; others, such as a `<title>` in prose, would hide what follows."""
    content: str = tokens[index].content
    return content if _INLINE.match(content) else ""
