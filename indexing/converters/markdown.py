"""Markdown by markdown-it: plain text, headings, and the front matter as metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from indexing.converters.characters import clean
from indexing.converters.content import Content, TextBuilder, plain_meta
from indexing.converters.decoding import read_text
from indexing.converters.html import text_of
from search_app.types import Heading, MetaValue

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,65536}?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_ATX = re.compile(r"^(#{1,6})[ \t]+(.{1,200}?)[ \t#]*$", re.MULTILINE)
_MAX_PARSED = 4_000_000
"""Longer texts keep their markup, as the parser needs about 300 bytes per character."""


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    text, undecoded = read_text(path)
    meta, text, warnings = _front_matter(clean(text))
    if len(text) > _MAX_PARSED:
        headings = [Heading(len(match[1]), match[2], match.start(), match.end()) for match in _ATX.finditer(text)]
    else:
        builder = TextBuilder()
        append(text, builder)
        text, headings = builder.text(), builder.headings
    first = next((heading.title for heading in headings if heading.level == 1), "")
    yield Content(text, str(meta.get("title") or first), meta, tuple(headings), warnings=undecoded + warnings)


def append(text: str, builder: TextBuilder) -> None:
    """Append Markdown inside another format."""
    _render(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(clean(text)), builder)


def _front_matter(text: str) -> tuple[dict[str, MetaValue], str, tuple[str, ...]]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text, ()
    try:
        values = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text, ("its front matter is not valid YAML and became part of the text",)
    if not isinstance(values, Mapping):
        return {}, text, ()
    meta = plain_meta({str(key).lower(): value for key, value in values.items()})
    if "lang" in meta:
        meta.setdefault("language", meta.pop("lang"))
    return meta, text[match.end() :], ()


def _render(tokens: Sequence[Token], builder: TextBuilder) -> None:
    markers: list[str] = []
    counters: list[int | None] = []
    pending = ""
    row: list[str] | None = None
    level = 0
    for token in tokens:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            counters.append(int(token.attrs.get("start", 1)) if token.type.startswith("ordered") else None)
            markers.append("")
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            counters.pop()
            markers.pop()
        elif token.type == "list_item_open":
            number = counters[-1]
            pending = "  " * (len(counters) - 1) + ("- " if number is None else f"{number}. ")
            counters[-1] = None if number is None else number + 1
        elif token.type == "heading_open":
            level = int(token.tag[1])
        elif token.type == "heading_close":
            level = 0
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            builder.block(" | ".join(row or []), group="table")
            row = None
        elif token.type == "inline":
            text = _inline(token.children or [])
            if row is not None:
                row.append(text)
            elif level:
                builder.heading(level, text)
            else:
                builder.block(pending + text, group="list" if pending else "")
                pending = ""
        elif token.type in ("fence", "code_block"):
            builder.block(token.content)
        elif token.type == "html_block":
            builder.block(text_of(token.content))


def _inline(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type in ("text", "code_inline", "text_special"):
            parts.append(token.content)
        elif token.type == "softbreak":
            parts.append(" ")
        elif token.type == "hardbreak":
            parts.append("\n")
        elif token.type == "image":
            parts.append(_inline(token.children or []))
        elif token.type == "html_inline" and token.content.lower().startswith("<br"):
            parts.append("\n")
    return "".join(parts)
