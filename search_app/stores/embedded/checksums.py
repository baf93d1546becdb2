"""CRC-32 of a row's content and number, written with the row and checked whenever it is read.

They catch what SQLite's page checksums miss: a zeroed page and a page in another one's place. Columns of a damaged row
may have any type, so these functions accept every value; a row that passes has the declared types.
"""

from __future__ import annotations

import zlib

from search_app.errors import IndexCorrupt


def of_document(row: int, id: str, file: int, title: str, source: str, language: str, meta: str) -> int:
    """`meta`: the stored JSON."""
    return _of(row, id, file, title, source, language, meta)


def of_text(row: int, headings: str, pages: str, text: str, tables: str = "") -> int:
    """A document's large columns, as stored."""
    return _of(row, headings, pages, text, *([tables] if tables else []))


def of_passage(
    row: int, id: str, document: int, vector: int | None, title: str, start: int, end: int, page: int | None, text: str,
    edits: str = "",
) -> int:  # fmt: skip
    """CRC-32 of a passage's row."""
    return _of(row, id, document, vector, title, start, end, page, text, *([edits] if edits else []))


def of_vector(row: int, embedding: bytes) -> int:
    """CRC-32 of a vector's row."""
    return zlib.crc32(_blob(embedding), row & 0xFFFFFFFF)


def of_terms(passage: int, length: int, words: bytes, counts: bytes) -> int:
    """CRC-32 of a passage's terms."""
    return zlib.crc32(_blob(counts), zlib.crc32(_blob(words), zlib.crc32(f"{passage} {length}".encode())))


def require(what: str, row: int, stored: int, found: int) -> None:
    """Raises IndexCorrupt when the checksums differ; `what` names the kind of row in the message."""
    if stored != found:
        raise IndexCorrupt(f"{what} {row} of the index is damaged: its checksum is wrong")


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else f"not a blob: {value!r}".encode("utf-8", "surrogatepass")


def _of(*values: str | int | None) -> int:
    return zlib.crc32("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))
