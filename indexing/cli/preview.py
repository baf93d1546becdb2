"""`search-index preview`: show what a file gives, for people who wonder why something is not found."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indexing.cli import options
from indexing.cli.terminal import SHOWN, plural, print_json

if TYPE_CHECKING:
    from indexing.preview import DocumentPreview, FilePreview
    from search_app.types import Page

_MAX_CELL = 40
"""Characters of a cell in a drawn table; the passages have them all."""


@click.command()
@click.argument("file")
@options.encoder
@options.common
def preview(file: str, encoder: str | None, home: Path | None, collection: str, as_json: bool) -> None:
    """Show the text, tables and passages that FILE gives. No index is needed, and none is changed.

    Passages are shown as encoder and reader see them: with their title, and each cell of a table with the name of its
    column.
    """
    from indexing.preview import find
    from indexing.preview import preview as preview_file

    settings = options.load(home, collection, model=encoder)
    source = find(file)
    model = options.load_encoder(settings)
    found = preview_file(source, settings=settings, encoder=model, most=None if as_json else SHOWN)
    if as_json:
        print_json(found.to_dict())
    else:
        for line in _lines(found):
            click.echo(line)
    sys.exit(1 if found.failure else 0)


def _lines(file: FilePreview) -> Iterator[str]:
    if file.failure:
        yield f"failed   {file.source}: {file.failure}"
        return
    counts = (plural(file.count, "document"), plural(file.passages, "passage"), plural(file.tokens, "token"))
    yield f"{file.source} ({file.format}): {', '.join(counts)}"
    for warning in file.warnings:
        yield f"warning  {warning}"
    for document in file.documents:
        yield ""
        yield from _document(document)
    if file.count > len(file.documents):
        yield f"\n… and {plural(file.count - len(file.documents), 'document')} more (--json shows all)"


def _document(found: DocumentPreview) -> Iterator[str]:
    from indexing.preview import grid
    from search_app.text.reading import reading

    document = found.document
    yield f"title    {document.title}"
    yield f"language {document.language}"
    for name, value in document.meta.items():
        yield f"metadata {name}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"
    for heading in document.headings:
        yield f"heading  {'  ' * (heading.level - 1)}{heading.title}"
    if document.pages:
        yield f"pages    {_pages(document.pages)}"
    for number, table in enumerate(document.tables, start=1):
        yield f"\ntable {number} of {len(document.tables)}, characters {table.start} to {table.end}"
        yield from drawn(grid(document.text, table), table.header)
    for number, item in enumerate(found.passages, start=1):
        place = f"page {item.passage.page}, " if item.passage.page is not None else ""
        yield f"\npassage {number} of {len(found.passages)}, {place}{plural(item.tokens, 'token')}"
        yield f"  {item.passage.title}" if item.passage.title else "  (no title)"
        yield from (f"  │ {line}" for line in reading(item.passage).text.splitlines())


def _pages(pages: Sequence[Page]) -> str:
    empty = [str(page.number) for page in pages if page.start == page.end]
    scanned = [str(page.number) for page in pages if page.boxes and not page.runs]
    parts = [str(len(pages))]
    if empty:
        parts.append(f"without text: {', '.join(empty)}")
    if scanned:
        parts.append(f"read by OCR: {', '.join(scanned)}")
    return "; ".join(parts)


def drawn(rows: Sequence[Sequence[str | None]], header: int) -> Iterator[str]:
    """A table as lines of text, with a rule below its header. A covered cell is empty."""
    cells = [[_cut(cell or "") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        if header and number == header:
            yield "  " + "─┼─".join("─" * width for width in widths)
        yield ("  " + " │ ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"
