"""What one file gives: its documents with their passages, as `apply` would index them. No index is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from indexing.conversion import Converted, FileSplitter
from indexing.job import split_config_of
from indexing.sandbox import DEFAULT_LIMITS, Limits
from indexing.sources import SkippedFile, SourceFile, require, scan
from search_app.errors import ConfigurationError
from search_app.manifest import encoded_text
from search_app.protocols import Encoder
from search_app.settings import Settings
from search_app.text.reading import reading
from search_app.text.tokens import TokenSpans
from search_app.types import Document, Page, Passage, Table


@dataclass(frozen=True, slots=True)
class PassagePreview:
    """A passage, and the number of tokens of what the encoder reads: its title and text."""

    passage: Passage
    tokens: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `reading` is what encoder and reader see of the text."""
        item = self.passage
        return {
            "title": item.title, "page": item.page, "start": item.start, "end": item.end, "tokens": self.tokens,
            "text": item.text, "reading": reading(item).text,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class DocumentPreview:
    """A document and its passages in order."""

    document: Document
    passages: tuple[PassagePreview, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values. The rows of a table hold the texts of their cells, None where another cell covers one."""
        item = self.document
        return {
            "title": item.title, "language": item.language, "meta": dict(item.meta), "text": item.text,
            "headings": [asdict(heading) for heading in item.headings],
            "pages": [_page(page) for page in item.pages],
            "tables": [
                {"start": table.start, "end": table.end, "columns": table.columns, "header": table.header,
                 "rows": grid(item.text, table)}
                for table in item.tables
            ],
            "passages": [passage.to_dict() for passage in self.passages],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class FilePreview:
    """A file: how many documents, passages and tokens it gives, its warnings, and its first documents in full.

    `failure` is the reason why it gives nothing, or "".
    """

    source: str
    format: str
    failure: str = ""
    warnings: tuple[str, ...] = ()
    count: int = 0
    passages: int = 0
    tokens: int = 0
    documents: tuple[DocumentPreview, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "source": self.source, "format": self.format, "failure": self.failure, "warnings": self.warnings,
            "count": self.count, "passages": self.passages, "tokens": self.tokens,
            "documents": [document.to_dict() for document in self.documents],
        }  # fmt: skip


def find(source: str) -> SourceFile:
    """The file or object to preview. Raises ConfigurationError for anything that `apply` would not read."""
    require([source])
    if os.path.isdir(source):
        raise ConfigurationError(f"{source} is a folder", hint="give one file")
    item = next(iter(scan([source])), None)
    if isinstance(item, SkippedFile):
        raise ConfigurationError(f"{source} is not read: {item.reason}")
    if not isinstance(item, SourceFile):
        raise ConfigurationError(f"{source} is not one file", hint="give one file or the URL of one object")
    return item


def preview(
    file: SourceFile,
    *,
    settings: Settings,
    encoder: Encoder,
    most: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> FilePreview:
    """Convert and split the file in a sandbox; its first `most` documents are given in full."""
    config = split_config_of(settings, encoder)
    with FileSplitter(config, limits=limits) as splitter:
        converted = splitter.convert(file, "")
        try:
            return _preview(converted, TokenSpans(config.tokenizer), most)
        finally:
            converted.discard()


def grid(text: str, table: Table) -> list[list[str | None]]:
    """The texts of a table's cells by row and column, None where another cell covers one."""
    width = max([len(table.columns), 1, *(row[-1].column + 1 for row in table.rows if len(row) > 1)])
    rows: list[list[str | None]] = []
    for row in table.rows:
        rows.append([None] * width)
        for cell in row:
            # A cell across all columns belongs to none.
            rows[-1][cell.column if cell.column < width else 0] = text[cell.start : cell.end]
    return rows


def _preview(converted: Converted, token_spans: TokenSpans, most: int | None) -> FilePreview:
    file = converted.file
    if converted.failure is not None or converted.spool is None:
        reason = converted.failure.reason if converted.failure is not None else ""
        return FilePreview(file.source, file.format, failure=reason)
    passages = tokens = 0
    shown: list[DocumentPreview] = []
    for number, (document, found) in enumerate(_documents(converted, token_spans)):
        passages, tokens = passages + len(found), tokens + sum(item.tokens for item in found)
        if most is None or number < most:
            shown.append(DocumentPreview(document, tuple(found)))
    spool = converted.spool
    return FilePreview(file.source, file.format, "", spool.warnings, spool.documents, passages, tokens, tuple(shown))


def _documents(converted: Converted, token_spans: TokenSpans) -> Iterator[tuple[Document, list[PassagePreview]]]:
    document: Document | None = None
    found: list[PassagePreview] = []
    for item in converted.contents():
        if isinstance(item, Document):
            if document is not None:
                yield document, found
            document, found = item, []
        elif item:
            counts = map(len, token_spans(list(map(encoded_text, item))))
            found += map(PassagePreview, item, counts)
    if document is not None:
        yield document, found


def _page(page: Page) -> dict[str, Any]:
    return {"number": page.number, "start": page.start, "end": page.end, "boxes": list(map(asdict, page.boxes))}
