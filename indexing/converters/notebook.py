"""Jupyter notebooks: Markdown, code and what the code printed, cell by cell. Nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from indexing.converters import html, markdown
from indexing.converters.content import Content, ConversionError, TextBuilder, only_title, plain_meta

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MAX_OUTPUT = 20_000
"""Characters of one output: logs and dumps of data are cut."""


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    try:
        notebook = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"it is not a notebook: {error}") from error
    cells = list(_cells(notebook))
    builder = TextBuilder()
    cut = sum(_append(cell, builder) for cell in cells)
    facts = notebook.get("metadata")
    meta = plain_meta(_meta(facts if isinstance(facts, Mapping) else {}))
    yield Content(
        builder.text(),
        str(meta.get("title") or only_title(builder.headings)),
        meta,
        tuple(builder.headings),
        warnings=(f"outputs cut to {_MAX_OUTPUT} characters: {cut}",) if cut else (),
        tables=tuple(builder.tables),
    )


def _cells(notebook: Any) -> Iterator[Mapping[str, Any]]:
    """Notebooks before version 4 have their cells in worksheets."""
    if not isinstance(notebook, dict) or not ({"cells", "worksheets"} & notebook.keys()):
        raise ConversionError("it is not a notebook: it has no cells")
    sheets = notebook.get("worksheets")
    groups = [notebook.get("cells"), *(sheet.get("cells") for sheet in _mappings(sheets))]
    for group in groups:
        yield from _mappings(group)


def _mappings(items: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (items if isinstance(items, list) else ()) if isinstance(item, Mapping))


def _append(cell: Mapping[str, Any], builder: TextBuilder) -> int:
    """Append a cell, and return how many of its outputs were cut."""
    source = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "markdown":
        markdown.append(source, builder)
    elif kind == "heading":
        level = cell.get("level")
        builder.heading(level if isinstance(level, int) and 0 < level < 7 else 1, source)
    else:
        builder.block(source)
    return sum(_append_output(output, builder) for output in _mappings(cell.get("outputs")))


def _append_output(output: Mapping[str, Any], builder: TextBuilder) -> bool:
    data = output.get("data", output)
    data = data if isinstance(data, Mapping) else {}
    rich = _text(data.get("text/html", data.get("html")))
    if "<table" in rich and len(rich) <= 10 * _MAX_OUTPUT:
        html.add_fragment(rich, builder)
        return False
    if "ename" in output:
        text = f"{output.get('ename')}: {output.get('evalue')}"
    else:
        text = _text(output.get("text")) or _text(data.get("text/markdown")) or _text(data.get("text/plain"))
    text = _COLOUR.sub("", text)
    builder.block(text[:_MAX_OUTPUT])
    return len(text) > _MAX_OUTPUT


def _text(value: Any) -> str:
    """Text is one string or a list of lines."""
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def _meta(facts: Mapping[str, Any]) -> dict[str, Any]:
    authors = [author.get("name") for author in _mappings(facts.get("authors"))]
    kernel = facts.get("kernelspec")
    return {
        "title": facts.get("title"),
        "author": ", ".join(filter(None, map(str, authors))),
        "code_language": kernel.get("language") if isinstance(kernel, Mapping) else None,
    }
