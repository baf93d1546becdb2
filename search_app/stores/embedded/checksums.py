"""CRC-32 of what a row holds, its number included: written with the row, and checked wherever the row is read.

What SQLite's page checksums cannot see: a zeroed page, and a page that lies where another belongs. There a column may
hold anything, whatever its type: each of these takes what comes, and only what they let pass is as its type says.
"""

from __future__ import annotations

import zlib

from search_app.errors import IndexCorrupt

DAMAGED = "run: search-index verify --repair, which says what is lost and how to bring it back"


def of_document(row: int, id: str, file: int, title: str, source: str, language: str, meta: str) -> int:
    """`meta` as the JSON that is stored."""
    return _of(row, id, file, title, source, language, meta)


def of_text(row: int, headings: str, pages: str, text: str) -> int:
    """A document's large columns, as they are stored."""
    return _of(row, headings, pages, text)


def of_passage(
    row: int, id: str, document: int, vector: int | None, title: str, start: int, end: int, page: int | None, text: str
) -> int:
    return _of(row, id, document, vector, title, start, end, page, text)


def of_vector(row: int, embedding: bytes) -> int:
    return zlib.crc32(_blob(embedding), row & 0xFFFFFFFF)


def of_terms(passage: int, length: int, words: bytes, counts: bytes) -> int:
    return zlib.crc32(_blob(counts), zlib.crc32(_blob(words), zlib.crc32(f"{passage} {length}".encode())))


def require(what: str, row: int, stored: int, found: int) -> None:
    """Raises IndexCorrupt unless the row `what` (a word for people) is as it was written."""
    if stored != found:
        raise IndexCorrupt(f"{what} {row} of the index is not what was written", hint=DAMAGED)


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else f"no blob but {value!r}".encode("utf-8", "surrogatepass")


def _of(*values: str | int | None) -> int:
    return zlib.crc32("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))
