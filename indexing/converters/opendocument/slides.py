"""OpenDocument presentations: a slide is a page, its title a heading; notes are text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexing.converters import markup
from indexing.converters.content import Content, TextBuilder, plain_meta
from indexing.converters.opendocument.package import opened, properties
from indexing.converters.opendocument.text import Reader, Styles, text_of


def convert(path: Path) -> Iterator[Content]:
    """Yield one document with a page per slide."""
    with opened(path, "odp") as archive:
        meta = properties(archive)
        content = markup.parse(archive.read("content.xml"))
        styles = Styles.of(content, markup.part(archive, "styles.xml"))
    builder = TextBuilder()
    empty = []
    for number, page in enumerate(content.iter("{*}page"), start=1):
        _append_slide(page, builder, styles)
        builder.end_page(number)
        if builder.pages[-1].start == builder.pages[-1].end:
            empty.append(str(number))
    warnings = (f"no text on slide {', '.join(empty[:10])}",) if empty else ()
    meta["pages"] = len(builder.pages)
    title = str(meta.get("title") or (builder.headings[0].title if builder.headings else ""))
    yield Content(
        builder.text(),
        title,
        plain_meta(meta),
        tuple(builder.headings),
        tuple(builder.pages),
        warnings,
        tuple(builder.tables),
    )


def _append_slide(page: Any, builder: TextBuilder, styles: Styles) -> None:
    reader = Reader(builder, styles)
    title = next((shape for shape in page if markup.value_of(shape, "class") == "title"), None)
    if title is not None:
        builder.heading(1, " ".join(text_of(paragraph) for paragraph in title.iter("{*}p")))
    for shape in page:
        if markup.name_of(shape) == "notes":
            text = "\n".join(text_of(paragraph) for paragraph in shape.iter("{*}p"))
            builder.block(f"Notes: {text.strip()}" if text.strip() else "")
        elif shape is not title:
            reader.read([shape])
