"""Rows of documents and passages as objects, with their checksums checked.

Both formats that are read have the same columns in the same order; format 2 lacks the last one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from search_app.stores.embedded import checksums
from search_app.text import outline
from search_app.types import Document, Edit, Passage

DOCUMENT = "d.rowid, d.id, d.file, d.title, d.source, d.language, d.meta, d.checksum"
"""The small columns of a document."""


def check_passage(columns: Sequence[Any]) -> None:
    """Raises IndexCorrupt for a passage whose columns do not agree with their checksum."""
    checksums.require("passage", columns[0], columns[9], passage_checksum(columns))


def passage(columns: Sequence[Any], owner: Document) -> Passage:
    """A passage from all its columns, which `check_passage` accepts."""
    _, id, _, _, title, start, end, page, text, _, edits = (*columns, "")[:11]
    return Passage(id, owner.id, title, text, start, end, page, owner.source, owner.meta, passage_edits(edits))


def passage_checksum(columns: Sequence[Any]) -> int:
    """CRC-32 of a passage from all its columns."""
    return checksums.of_passage(*columns[:9], *columns[10:])


def text_checksum(columns: Sequence[Any]) -> int:
    """CRC-32 of a document's large columns from all its columns."""
    return checksums.of_text(columns[0], *columns[7:10], *columns[12:])


def passage_edits(column: str) -> tuple[Edit, ...]:
    """The edits from their column."""
    return outline.edits_from_list(json.loads(column)) if column else ()


def document(columns: Sequence[Any]) -> Document:
    """A document without its text, headings, pages and tables, from the columns `DOCUMENT`. Raises IndexCorrupt."""
    *held, checksum = columns
    row, id, _, title, source, language, meta = held
    checksums.require("document", row, checksum, checksums.of_document(*held))
    return Document(id, title, "", source, json.loads(meta), language)


def whole_document(columns: Sequence[Any]) -> Document:
    """A document from all its columns. Raises IndexCorrupt."""
    *small, headings, pages, text, checksum, of_text, tables = (*columns, "")[:13]
    found = document((*small, checksum))
    checksums.require("the text of document", columns[0], of_text, text_checksum(columns))
    outlined = outline.from_lists(json.loads(headings), json.loads(pages), json.loads(tables or "[]"))
    return Document(found.id, found.title, text, found.source, found.meta, found.language, *outlined)
