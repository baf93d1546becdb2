"""Word and PowerPoint: headings, tables, notes; a slide is a page. Zip bombs are rejected before they are opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import Content, ConversionError, TextBuilder, plain_meta

_HEADING = re.compile(r"heading ?(\d)", re.IGNORECASE)
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def convert_docx(path: Path) -> Iterator[Content]:
    """Yield one document."""
    require_harmless_zip(path, "docx")
    import docx
    from docx.table import Table

    document = _opened(docx.Document, path, "Word document")
    builder = TextBuilder()
    title = ""
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            _table(item, builder)
            continue
        style = f"{item.style.style_id} {item.style.name}" if item.style is not None else ""
        heading = _HEADING.search(style)
        if heading:
            builder.heading(int(heading[1]) or 1, item.text)
        elif style.lower().startswith("title") and not title:
            title = item.text.strip()
            builder.heading(1, item.text)
        else:
            listed = (item._p.pPr is not None and item._p.pPr.numPr is not None) or "list" in style.lower()
            builder.block(("- " if listed else "") + item.text, group="list" if listed else "")
        for box in item._p.iter(f"{_WORD}txbxContent"):
            # Word writes each text box twice, the second time as a fallback for old readers.
            if not any(parent.tag.endswith("}Fallback") for parent in box.iterancestors()):
                builder.block("\n".join("".join(p.itertext(f"{_WORD}t")) for p in box.iter(f"{_WORD}p")))
    meta = _core_meta(document.core_properties)
    first = next((heading.title for heading in builder.headings if heading.level == 1), "")
    yield Content(builder.text(), str(meta.get("title") or title or first), plain_meta(meta), tuple(builder.headings))


def convert_pptx(path: Path) -> Iterator[Content]:
    """Yield one document with a page per slide."""
    require_harmless_zip(path, "pptx")
    import pptx

    presentation = _opened(pptx.Presentation, path, "PowerPoint file")
    builder = TextBuilder()
    empty = []
    for number, slide in enumerate(presentation.slides, start=1):
        title = slide.shapes.title
        if title is not None:
            builder.heading(1, title.text_frame.text)
        for shape in slide.shapes:
            if title is None or shape.shape_id != title.shape_id:
                _shape(shape, builder)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            builder.block(slide.notes_slide.notes_text_frame.text)
        builder.end_page(number)
        if builder.pages[-1].start == builder.pages[-1].end:
            empty.append(str(number))
    warnings = (f"no text on slide {', '.join(empty[:10])}",) if empty else ()
    meta = _core_meta(presentation.core_properties)
    meta["pages"] = len(builder.pages)
    first = builder.headings[0].title if builder.headings else ""
    # A stock presentation carries its template's title.
    title_text = str(meta.get("title", ""))
    title_text = first if title_text.lower() in ("", "powerpoint presentation") else title_text
    yield Content(builder.text(), title_text, plain_meta(meta), tuple(builder.headings), tuple(builder.pages), warnings)


def _opened(opener: Callable[[str], Any], path: Path, kind: str) -> Any:
    try:
        return opener(str(path))
    except MemoryError:
        raise
    except Exception as error:  # these libraries raise KeyError, ValueError, XMLSyntaxError and more for a damaged file
        raise ConversionError(f"it cannot be read as a {kind}: {str(error) or type(error).__name__}") from error


def _shape(shape: Any, builder: TextBuilder) -> None:
    if shape.shape_type is not None and hasattr(shape, "shapes"):
        for inner in shape.shapes:
            _shape(inner, builder)
    elif getattr(shape, "has_table", False):
        _table(shape.table, builder)
    elif getattr(shape, "has_text_frame", False):
        builder.block("\n".join(paragraph.text for paragraph in shape.text_frame.paragraphs))


def _table(table: Any, builder: TextBuilder) -> None:
    for row in table.rows:
        cells: list[str] = []
        seen: list[Any] = []
        for cell in row.cells:
            element = cell._tc
            if element not in seen:  # a merged cell is repeated for each column it covers
                seen.append(element)
                cells.append(
                    " ".join(cell.text_frame.text.split() if hasattr(cell, "text_frame") else cell.text.split())
                )
        builder.block(" | ".join(cells), group="table")


def _core_meta(properties: Any) -> dict[str, object]:
    date = properties.created or properties.modified
    found = {
        "title": properties.title,
        "author": properties.author,
        "subject": properties.subject,
        "keywords": properties.keywords,
        "language": properties.language,
        "date": date,
    }
    # Empty templates contain values such as "python-docx".
    return {key: value for key, value in found.items() if value and value not in ("python-docx", "python-pptx")}
